// The engine that a browser has: the C kernel (native/kernel.c) in WebAssembly, float32, one thread.
// Numbers pass as Float64Array, flat, in gpt.py's order; documents as arrays of token ids, BOS at both ends.

/** @typedef {{n_layer: number, n_embd: number, n_head: number, block_size: number, vocab_size: number}} Config */
/** @typedef {{beta1: number, beta2: number, eps: number}} Optimizer */
/** @typedef {{params: Float64Array, m: Float64Array, v: Float64Array, t: number}} State parameters, Adam's moments, steps taken */
/** @typedef {ArrayLike<number>} Tokens */
/** @typedef {{temperature?: number, topK?: number, topP?: number, prefix?: Tokens}} Sampling */

/** The calls of wasm.c; addresses are bytes in its memory.
 * @typedef {object} Calls
 * @property {WebAssembly.Memory} memory
 * @property {(end: number) => number} reach
 * @property {(n_layer: number, n_embd: number, n_head: number, block_size: number, vocab_size: number, beta1: number, beta2: number, eps: number) => number} create
 * @property {(part: number, flat: number) => void} put
 * @property {(part: number, flat: number) => void} get
 * @property {(docs: number, count: number) => number} loss
 * @property {(docs: number, count: number) => number} gradient
 * @property {(docs: number, count: number, lr: number, t: number) => number} train
 * @property {(token: number, position: number, logits: number) => void} step
 * @property {(first: bigint, count: number, seed: bigint, temperature: number, top_k: number, top_p: number, prefix: number, n_prefix: number, tokens: number, lengths: number) => void} sample
 * @property {(tokens: number, count: number, logits: number, probs: number, attention: number, residual: number, hidden: number) => void} inspect
 */

const PARAMS = 0,
  ADAM_M = 1,
  ADAM_V = 2,
  GRADIENT = 3; // parts of a model, as kernel.h numbers them
const AT_A_TIME = 4096; // names
const FLOAT32_MAX = 3.4028234663852886e38;

/** Compile kernel.wasm, from its bytes or from where it lies. One module serves any number of engines.
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

/** Make an engine: a model whose parameters are zeros until it is given some. Wrong sizes are an Error.
 * @param {WebAssembly.Module} module
 * @param {Config} config
 * @param {Optimizer} [optimizer]
 * @returns {Engine} */
export function create(module, config, optimizer = { beta1: 0.85, beta2: 0.99, eps: 1e-8 }) {
  const { n_layer, n_embd, n_head, block_size, vocab_size } = config;
  for (const [name, size] of Object.entries({ n_layer, n_embd, n_head, block_size, vocab_size })) {
    need(
      Number.isInteger(size) && size >= 1 && size < 2 ** 31,
      `${name} is ${size}; it must be a whole number, 1 or more`,
    );
  }
  need(n_embd % n_head === 0, `n_embd is ${n_embd}; it must be a multiple of n_head, ${n_head}`);
  const { beta1, beta2, eps } = optimizer;
  for (const [name, beta] of Object.entries({ beta1, beta2 })) {
    need(beta >= 0 && beta < 1, `${name} is ${beta}; it must be 0 or more, and less than 1`);
  }
  need(eps > 0 && eps < Infinity, `eps is ${eps}; it must be more than 0`);
  const { exports } = new WebAssembly.Instance(module);
  const calls = /** @type {Calls} */ (/** @type {unknown} */ (exports));
  const free =
    calls.create(n_layer, n_embd, n_head, block_size, vocab_size, beta1, beta2, eps) >>> 0;
  need(free, "a model of this size does not fit the memory");
  return new Engine(calls, { n_layer, n_embd, n_head, block_size, vocab_size }, free);
}

/** A model that runs and trains; `create` makes it. What it cannot do is an Error, and changes nothing. */
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
   * @param {{params: ArrayLike<number>, m?: ArrayLike<number>, v?: ArrayLike<number>, t?: number}} state */
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
   * @param {Tokens[][]} batches @param {ArrayLike<number>} rates learning rates */
  train(batches, rates) {
    need(
      batches.length === rates.length,
      `there are ${batches.length} batches and ${rates.length} rates; they must be as many`,
    );
    for (let i = 0; i < rates.length; i++) {
      this.#check(batches[i]);
      need(Number.isFinite(rates[i]), `rates[${i}] is ${rates[i]}; it must be a finite number`);
    }
    return batches.map((batch, i) => {
      const loss = finite(this.#calls.train(this.#write(batch), batch.length, rates[i], this.#t));
      this.#t += 1;
      return loss;
    });
  }

  /** @param {Tokens[]} batch @returns {number} the mean loss (nats/token) */
  loss(batch) {
    this.#check(batch);
    return finite(this.#calls.loss(this.#write(batch), batch.length));
  }

  /** @param {Tokens[]} batch @returns {Float64Array} d loss / d parameter */
  gradients(batch) {
    this.#check(batch);
    finite(this.#calls.gradient(this.#write(batch), batch.length));
    return this.#part(GRADIENT);
  }

  /** The next token that `step` reads is a document's first. */
  reset() {
    this.#position = 0;
  }

  /** Read a token, as the next of a document.
   * @param {number} token @returns {Float64Array} the logits (vocab_size) of the one after it */
  step(token) {
    const { block_size, vocab_size } = this.config;
    this.#checkToken(token);
    need(this.#position < block_size, `the context is full: block_size is ${block_size}; reset`);
    const logits = this.#doubles(vocab_size);
    this.#calls.step(token, this.#position++, this.#free);
    return logits.slice();
  }

  /** Draw documents `first`, `first + 1`, ... of a seed, the same in any order and number.
   * @param {number} first @param {number} count @param {number | bigint} seed
   * @param {Sampling} [sampling] temperature 0 takes the likeliest; without topK or topP, any token may come
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
   * @returns {{logits: Float64Array, probs: Float64Array, attention: Float64Array, residual: Float64Array, hidden: Float64Array}}
   *   logits and probs (T, vocab_size), attention (n_layer, n_head, T, T), residual (n_layer + 1, T, n_embd),
   *   hidden (n_layer, T, 4 n_embd) */
  inspect(tokens) {
    const { n_layer, n_embd, n_head, block_size, vocab_size } = this.config,
      T = tokens.length;
    need(
      T >= 1 && T <= block_size,
      `${T} tokens do not fit block_size ${block_size}; give 1 to ${block_size}`,
    );
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

  /** @param {number} token */
  #checkToken(token) {
    const last = this.config.vocab_size - 1;
    need(
      Number.isInteger(token) && token >= 0 && token <= last,
      `token ${token} is not in the vocabulary: 0 to ${last}`,
    );
  }

  /** @param {Tokens[]} batch */
  #check(batch) {
    need(batch.length > 0, "the batch is empty; it holds one document at least");
    for (const tokens of batch) {
      need(
        tokens.length >= 2,
        `the document [${Array.from(tokens)}] has no next token to learn; BOS ends it`,
      );
      for (let i = 0; i < tokens.length; i++) this.#checkToken(tokens[i]);
    }
  }

  /** Lay a batch out as kernel.h's Documents, {tokens, weights, n}, and behind them their tokens.
   * @param {Tokens[]} batch @returns {number} the address */
  #write(batch) {
    const lengths = batch.map((tokens) => Math.min(tokens.length, this.config.block_size + 1));
    const ids = this.#integers(lengths.reduce((a, b) => a + b, 3 * batch.length));
    let at = 3 * batch.length;
    batch.forEach((tokens, d) => {
      ids[3 * d] = this.#free + 4 * at;
      ids[3 * d + 1] = 0; // no weights: the mean
      ids[3 * d + 2] = lengths[d] - 1;
      for (let i = 0; i < lengths[d]; i++) ids[at++] = tokens[i];
    });
    return this.#free;
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

/** @param {unknown} sound @param {string} problem */
function need(sound, problem) {
  if (!sound) throw new Error(problem);
}

/** @param {number} loss */
function finite(loss) {
  need(Number.isFinite(loss), `the loss is no longer a finite number (${loss}); lower lr`);
  return loss;
}
