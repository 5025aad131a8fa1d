// The engine that a browser has: the C kernel (native/kernel.c) in WebAssembly, one thread,
// float32.
// Numbers pass as Float64Array, flat, in gpt.py's order; documents as arrays of token ids.

/** @typedef {{vocab_size: number, n_layer: number, n_embd: number, n_head: number, block_size:
 *   number}} Config */
/** @typedef {{beta1: number, beta2: number, eps: number, weight_decay: number}} Optimizer Adam, or
 *   AdamW */
/** @typedef {{params: Float64Array, m: Float64Array, v: Float64Array, t: number}} State parameters,
 *   Adam's moments, steps taken */
/** @typedef {ArrayLike<number>} Tokens */
/** @typedef {ArrayLike<number>[]} Weights for each document, a number for each of its positions */
/** @typedef {{temperature?: number, topK?: number, topP?: number, prefix?: Tokens}} Sampling */

/** The calls of wasm.c; addresses are bytes in its memory.
 * @typedef {object} Calls
 * @property {WebAssembly.Memory} memory
 * @property {(end: number) => number} reach
 * @property {(vocab_size: number, n_layer: number, n_embd: number, n_head: number, block_size:
 *   number, beta1: number, beta2: number, eps: number, weight_decay: number) => number} create
 * @property {(part: number, flat: number) => void} put
 * @property {(part: number, flat: number) => void} get
 * @property {(docs: number, count: number, each: number) => number} loss
 * @property {(docs: number, count: number) => number} gradient
 * @property {(docs: number, count: number, lr: number, t: number) => number} train
 * @property {(token: number, position: number, logits: number) => void} step
 * @property {(first: bigint, count: number, seed: bigint, temperature: number, top_k: number,
 *   top_p: number, prefix: number, n_prefix: number, tokens: number, lengths: number) => void}
 *   sample
 * @property {(tokens: number, count: number, logits: number, probs: number, attention: number,
 *   residual: number, hidden: number) => void} inspect
 */

const PARAMS = 0,
  ADAM_M = 1,
  ADAM_V = 2,
  GRADIENT = 3; // parts of a model, as kernel.h numbers them
const AT_A_TIME = 4096; // names
const FLOAT32_MAX = 3.4028234663852886e38;

/** Compile kernel.wasm, from its bytes or from where it lies. One module serves any number of
 * engines.
 * @param {BufferSource | string | URL} source
 * @returns {Promise<WebAssembly.Module>} */
export async function compile(source) {
  if (typeof source !== "string" && !(source instanceof URL)) return WebAssembly.compile(source);
  const answer = await fetch(source);
  if (!answer.ok)
    throw new Error(
      `${source} cannot be had (${answer.status}); is kernel.wasm where the page is?`,
    );
  return WebAssembly.compile(await answer.arrayBuffer());
}

/** Make an engine: a model whose parameters are zeros until it is given some. Wrong sizes are an
 * Error.
 * @param {WebAssembly.Module} module
 * @param {Config} config
 * @param {Optimizer} [optimizer]
 * @returns {Engine} */
export function create(
  module,
  config,
  optimizer = { beta1: 0.85, beta2: 0.99, eps: 1e-8, weight_decay: 0 },
) {
  const { vocab_size, n_layer, n_embd, n_head, block_size } = config;
  for (const [name, size] of Object.entries({ vocab_size, n_layer, n_embd, n_head, block_size })) {
    need(
      Number.isInteger(size) && size >= 1 && size < 2 ** 31,
      `${name} is ${size}; it must be a whole number, 1 or more`,
    );
  }
  need(n_embd % n_head === 0, `n_embd is ${n_embd}; it must be a multiple of n_head, ${n_head}`);
  const { beta1, beta2, eps, weight_decay } = optimizer;
  for (const [name, beta] of Object.entries({ beta1, beta2 })) {
    need(beta >= 0 && beta < 1, `${name} is ${beta}; it must be 0 or more, and less than 1`);
  }
  need(eps > 0 && eps < Infinity, `eps is ${eps}; it must be more than 0`);
  need(
    weight_decay >= 0 && weight_decay < Infinity,
    `weight_decay is ${weight_decay}; it must be 0 or more`,
  );
  const { exports } = new WebAssembly.Instance(module);
  const calls = /** @type {Calls} */ (/** @type {unknown} */ (exports));
  const free =
    calls.create(
      vocab_size,
      n_layer,
      n_embd,
      n_head,
      block_size,
      beta1,
      beta2,
      eps,
      weight_decay,
    ) >>> 0;
  need(free, "a model of this size does not fit the memory");
  return new Engine(calls, { vocab_size, n_layer, n_embd, n_head, block_size }, free);
}

/** A model that runs and trains; `create` makes it. What it cannot do is an Error, and changes
 * nothing. */
export class Engine {
  #calls;
  #free; // the address from where on memory is ours, to pass things in and out
  #t = 0;
  #position = 0;

  /** @param {Calls} calls @param {Config} config @param {number} free */
  constructor(calls, config, free) {
    this.#calls = calls;
    this.#free = free;
    this.config = Object.freeze(config);
    const { n_layer: layers, n_embd: n, block_size, vocab_size } = config;
    /** How many parameters there are. */
    this.size = n * (2 * vocab_size + block_size + 12 * layers * n);
  }

  /** Take over parameters; without moments, the optimizer starts afresh.
   * @param {{params: ArrayLike<number>, m?: ArrayLike<number>, v?: ArrayLike<number>, t?: number}}
   *   state */
  load({ params, m, v, t = 0 }) {
    const zeros = new Float64Array(this.size);
    const parts = { params, m: m ?? zeros, v: v ?? zeros };
    for (const [name, numbers] of Object.entries(parts)) {
      need(
        numbers?.length === this.size,
        `${name} holds ${numbers?.length} numbers; the model has ${this.size}`,
      );
      for (let i = 0; i < numbers.length; i++) {
        need(
          Math.abs(numbers[i]) <= FLOAT32_MAX,
          `${name}[${i}] is ${numbers[i]}; it must be a number within float32's`,
        );
      }
    }
    need(Number.isInteger(t) && t >= 0, `t is ${t}; it must be a whole number, 0 or more`);
    for (const [part, numbers] of Object.values(parts).entries()) {
      this.#doubles(this.size).set(numbers);
      this.#calls.put(part, this.#free);
    }
    this.#t = t;
    this.reset();
  }

  /** @returns {State} copies */
  state() {
    return { params: this.#part(PARAMS), m: this.#part(ADAM_M), v: this.#part(ADAM_V), t: this.#t };
  }

  /** Take one step of Adam for each batch; return the losses before each (nats/token).
   * @param {Tokens[][]} batches @param {ArrayLike<number>} rates learning rates
   * @param {(Weights | null)[]} [weights] of each batch, or null for the mean */
  train(batches, rates, weights = batches.map(() => null)) {
    const counts = [batches.length, rates.length, weights.length];
    need(new Set(counts).size === 1, `batches, rates and weights differ in length: ${counts}`);
    for (let i = 0; i < rates.length; i++) {
      this.#check(batches[i], weights[i]);
      need(Number.isFinite(rates[i]), `rates[${i}] is ${rates[i]}; it must be a finite number`);
    }
    return batches.map((batch, i) => {
      const { docs } = this.#write(batch, weights[i]);
      const loss = finite(this.#calls.train(docs, batch.length, rates[i], this.#t));
      this.#t += 1;
      return loss;
    });
  }

  /** @param {Tokens[]} batch @param {Weights | null} [weights]
   * @returns {number} the loss (nats/token) */
  loss(batch, weights = null) {
    this.#check(batch, weights);
    const { docs, each } = this.#write(batch, weights);
    return finite(this.#calls.loss(docs, batch.length, each));
  }

  /** @param {Tokens[]} batch
   * @returns {number[][]} -log p of every position of each document (nats) */
  losses(batch) {
    this.#check(batch, null);
    const { docs, each } = this.#write(batch, null);
    finite(this.#calls.loss(docs, batch.length, each));
    let at = each;
    return batch.map((tokens) => {
      const row = new Float64Array(this.#calls.memory.buffer, at, this.#positions(tokens));
      at += row.byteLength;
      return Array.from(row);
    });
  }

  /** @param {Tokens[]} batch @param {Weights | null} [weights]
   * @returns {Float64Array} d loss / d parameter */
  gradients(batch, weights = null) {
    this.#check(batch, weights);
    finite(this.#calls.gradient(this.#write(batch, weights).docs, batch.length));
    return this.#part(GRADIENT);
  }

  /** The next token that `step` reads is a document's first. */
  reset() {
    this.#position = 0;
  }

  /** Read a token, as the next of a document.
   * @param {number} token @returns {Float64Array} the logits (vocab_size) of the one after it */
  step(token) {
    const { vocab_size } = this.config;
    this.#checkToken(token);
    this.#checkContext(this.#position + 1);
    const logits = this.#doubles(vocab_size);
    this.#calls.step(token, this.#position++, this.#free);
    return logits.slice();
  }

  /** Draw documents `first`, `first + 1`, ... of a seed, the same in any order and number.
   * @param {number} first @param {number} count @param {number | bigint} seed
   * @param {Sampling} [sampling] temperature 0 takes the likeliest; without topK or topP, any token
   *   may come
   * @returns {number[][]} token ids without BOS, the prefix included */
  sample(first, count, seed, { temperature = 0.5, topK, topP = 1, prefix = [] } = {}) {
    const { block_size, vocab_size } = this.config;
    for (const [name, number] of Object.entries({ first, count })) {
      need(
        Number.isSafeInteger(number) && number >= 0,
        `${name} is ${number}; it must be a whole number, 0 or more`,
      );
    }
    need(
      typeof seed === "bigint" || Number.isSafeInteger(seed),
      `seed is ${seed}; it must be a whole number`,
    );
    need(
      temperature >= 0 && temperature < Infinity,
      `temperature is ${temperature}; it must be 0 or more, and finite`,
    );
    need(
      topK === undefined || (Number.isInteger(topK) && topK >= 1),
      `top-k is ${topK}; it must be 1 or more`,
    );
    need(topP > 0 && topP <= 1, `top-p is ${topP}; it must be more than 0 and at most 1`);
    for (let i = 0; i < prefix.length; i++) this.#checkToken(prefix[i]);
    need(
      prefix.length <= block_size,
      `the prefix has ${prefix.length} tokens; the model can see ${block_size}`,
    );
    if (prefix.length === block_size)
      return Array.from({ length: count }, () => Array.from(prefix));

    this.reset(); // the cache is used
    /** @type {number[][]} */
    const names = [];
    for (let done = 0; done < count; done += AT_A_TIME) {
      const some = Math.min(count - done, AT_A_TIME),
        tokens = 4 * block_size,
        lengths = tokens + 4 * some * block_size;
      const ids = this.#integers(block_size + some * block_size + some);
      ids.set(prefix);
      this.#calls.sample(
        BigInt(first + done),
        some,
        BigInt.asIntN(64, BigInt(seed)),
        temperature,
        Math.min(topK ?? vocab_size, vocab_size),
        topP,
        this.#free,
        prefix.length,
        this.#free + tokens,
        this.#free + lengths,
      );
      for (let i = 0; i < some; i++) {
        const from = (1 + i) * block_size;
        names.push(Array.from(ids.subarray(from, from + ids[lengths / 4 + i])));
      }
    }
    return names;
  }

  /** Look inside, for up to block_size tokens.
   * @param {Tokens} tokens (T)
   * @returns {{logits: Float64Array, probs: Float64Array, attention: Float64Array, residual:
   *   Float64Array, hidden: Float64Array}}
   * logits and probs (T, vocab_size), attention (n_layer, n_head, T, T), residual (n_layer + 1, T,
   * n_embd),
   *   hidden (n_layer, T, 4 n_embd) */
  inspect(tokens) {
    const { vocab_size, n_layer, n_embd, n_head } = this.config;
    const T = tokens.length;
    need(T, "there are no tokens; give at least one");
    this.#checkContext(T);
    for (let i = 0; i < T; i++) this.#checkToken(tokens[i]);
    const sizes = [
      T * vocab_size,
      T * vocab_size,
      n_layer * n_head * T * T,
      (n_layer + 1) * T * n_embd,
      n_layer * T * 4 * n_embd,
    ];
    const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    const total = starts[4] + sizes[4],
      all = this.#doubles(total + T);
    this.#integers(2 * total + T).set(tokens, 2 * total);
    const at = /** @type {[number, number, number, number, number]} */ (
      starts.map((start) => this.#free + 8 * start)
    );
    this.#calls.inspect(this.#free + 8 * total, T, ...at);
    const [logits, probs, attention, residual, hidden] = sizes.map((size, i) =>
      all.slice(starts[i], starts[i] + size),
    );
    return { logits, probs, attention, residual, hidden };
  }

  /** @param {number} count of tokens */
  #checkContext(count) {
    const { block_size } = this.config;
    need(
      count <= block_size,
      `${count} tokens do not fit block_size ${block_size}; give fewer, or reset() to begin ` +
        "another document",
    );
  }

  /** @param {number} token */
  #checkToken(token) {
    const last = this.config.vocab_size - 1;
    need(
      Number.isInteger(token) && token >= 0 && token <= last,
      `token ${token} is not in the vocabulary: 0 to ${last}`,
    );
  }

  /** How many tokens of a document are read, each to guess the next.
   * @param {Tokens} tokens */
  #positions(tokens) {
    return Math.min(tokens.length - 1, this.config.block_size);
  }

  /** @param {Tokens[]} batch @param {Weights | null} weights */
  #check(batch, weights) {
    need(batch.length > 0, "the batch is empty; give at least one document");
    for (const tokens of batch) {
      need(
        tokens.length >= 2,
        `the document [${Array.from(tokens)}] has no next token to learn; give two tokens or more`,
      );
      for (let i = 0; i < tokens.length; i++) this.#checkToken(tokens[i]);
    }
    if (!weights) return;
    const lengths = batch.map((tokens) => this.#positions(tokens));
    const fit =
      weights.length === batch.length && lengths.every((n, d) => weights[d]?.length === n);
    need(fit, `weights must hold a list for each document, of [${lengths}] numbers`);
  }

  /** Lay a batch out for the kernel: a double for each position (its weight, or room for its loss),
   * then kernel.h's Documents, {tokens, weights, n}, then their tokens.
   * @param {Tokens[]} batch @param {Weights | null} weights
   * @returns {{docs: number, each: number}} the addresses of the documents and of the doubles */
  #write(batch, weights) {
    const sum = batch.reduce((total, tokens) => total + this.#positions(tokens), 0);
    const first = 2 * sum; // the documents' place, in integers
    const ids = this.#integers(first + 3 * batch.length + sum + batch.length);
    const doubles = this.#doubles(sum);
    let token = first + 3 * batch.length;
    let position = 0;
    batch.forEach((tokens, d) => {
      const n = this.#positions(tokens);
      const at = this.#free + 8 * position;
      ids.set([this.#free + 4 * token, weights ? at : 0, n], first + 3 * d);
      if (weights) doubles.set(weights[d], position);
      for (let i = 0; i <= n; i++) ids[token++] = tokens[i];
      position += n;
    });
    return { docs: this.#free + 4 * first, each: this.#free };
  }

  /** @param {number} part */
  #part(part) {
    const flat = this.#doubles(this.size);
    this.#calls.get(part, this.#free);
    return flat.slice();
  }

  /** The memory that is ours, as so many numbers. A view of before must not be used after.
   * @param {number} count */
  #doubles(count) {
    this.#reach(8 * count);
    return new Float64Array(this.#calls.memory.buffer, this.#free, count);
  }

  /** @param {number} count */
  #integers(count) {
    this.#reach(4 * count);
    return new Int32Array(this.#calls.memory.buffer, this.#free, count);
  }

  /** @param {number} bytes */
  #reach(bytes) {
    need(
      this.#calls.reach(this.#free + bytes),
      "this does not fit the memory; give less at a time",
    );
  }
}

/** @param {unknown} met @param {string} problem */
function need(met, problem) {
  if (!met) throw new Error(problem);
}

/** @param {number} loss */
function finite(loss) {
  need(Number.isFinite(loss), "the loss is no longer a finite number; lower lr");
  return loss;
}
