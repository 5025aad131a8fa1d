// The model at one position of a trace, drawn: each part knows from which event on it is there.
import { h, letter, number, percent, strip, svg, valued } from "./draw.mjs";
import { explained } from "./terms.mjs";
import { unrun } from "./trace.mjs";

/** @typedef {import("./trace.mjs").Trace} Trace */
/** @typedef {import("./trace.mjs").Call} Call */

/**
 * What the parts are drawn from: a trace, one position of it, and the model's sizes and letters.
 * @typedef {{trace: Trace, pos: number, here: any, config: any, vocabulary: string}} Place
 *
 * Between which events a part is computed: it lights up in between, and is there from the second
 * on.
 * @typedef {{"data-from": number, "data-at": number}} When
 */

const SCALE = 2.5; // what is drawn in full colour, everywhere, so that sizes can be compared
/** @type {Record<string, string>} */
const MEANING = {
  attn_wq: "{query}: what this letter looks for",
  attn_wk: "{key}: what it is found by",
  attn_wv: "{value}: what it passes on",
  attn_wo: "what the heads found, back in one piece",
  mlp_fc1: "64 questions about the letter",
  mlp_fc2: "what the answers add",
};

/** @param {Trace} trace @param {number} pos @param {{config: any, vocabulary: string}} described */
export function parts(trace, pos, { config, vocabulary }) {
  const here = trace.positions[pos];
  const place = { trace, pos, here, config, vocabulary };
  const { index, begin, end } = trace.calls[here.call];
  /** @type {HTMLElement[]} */
  const groups = [
    group(
      "Embedding",
      "Two rows of numbers, the {embeddings|embedding}: one for the letter, one for its " +
        "{place|position}.",
    ),
  ];
  let layer = 0;
  for (let event = begin; event < end; event++) {
    const { call, set } = trace.events[event];
    if (call !== index) continue;
    if (set.i !== undefined) layer = set.i;
    const step = statement(trace, event);
    const title = opens(step, set);
    const name = (/** @type {string} */ title) =>
      config.n_layer > 1 ? `${title}, layer ${layer}` : title;
    if (title) groups.push(group(title === "Guess" ? title : name(title), ABOUT[title]));
    for (const [key, seen] of Object.entries(set))
      groups.at(-1)?.append(...rows(place, step, layer, key, seen));
  }
  return groups;
}

/** @type {Record<string, string>} */
const ABOUT = {
  Attention: "The letter {looks back|attention} at those before it, and takes what fits.",
  MLP: "Then it thinks by itself, in an {MLP}.",
  Guess: "A score, the {logit}, for every {token}; {softmax} turns scores into probabilities.",
};

/** What a statement did: the calls that it made, the weights that it used, when.
 * @param {Trace} trace @param {number} event */
function statement(trace, event) {
  const calls = trace.inner(event);
  const linear = calls.filter((c) => c.fn === "linear").at(-1);
  return {
    event,
    calls,
    /** @type {string} */
    weights: linear?.args.w?.param?.split(".").at(-1) ?? "",
    when: { "data-at": event, "data-from": Math.min(event, ...calls.map((c) => c.begin)) },
  };
}

/** @typedef {ReturnType<typeof statement>} Statement */

/** The part of the model that begins with a statement, if one does.
 * @param {Statement} step @param {Record<string, any>} set */
function opens({ weights }, set) {
  if ("i" in set) return "Attention";
  if (weights === "mlp_fc1") return "MLP";
  return "return" in set ? "Guess" : "";
}

/** @param {string} title @param {string} text */
function group(title, text) {
  const part = title.split(",")[0];
  const named = part === "MLP" ? part : part.toLowerCase();
  return h(
    "section",
    { class: "group", "data-part": named },
    h("h3", {}, title),
    h("p", {}, ...explained(text)),
  );
}

/** What one name of a statement is drawn as.
 * @param {Place} place @param {Statement} step @param {number} layer @param {string} key
 * @param {any} seen  what the name held
 * @returns {HTMLElement[]} */
function rows(place, { event, calls, weights, when }, layer, key, seen) {
  const { trace, here, config } = place;
  const numbers = trace.numbers(seen),
    nodes = trace.ids(seen);
  const by = config.n_embd / config.n_head;
  const called = (/** @type {string} */ fn) => calls.find((c) => c.fn === fn);
  const attention = called("attention"),
    normed = called("rmsnorm");
  if (key === "return") return [guess(place, numbers, nodes, when)];
  if (/^(keys|values)\[/.test(key))
    return [memory(place, key.startsWith("keys") ? "keys" : "values", layer, when, weights)];
  if (attention)
    return [
      ...heads(place, attention, layer, when),
      row(key, numbers, "what the heads took", when, { by, nodes }),
    ];
  if (weights === "mlp_fc2")
    return [
      units(trace, here.hidden[layer], when),
      row(key, numbers, MEANING.mlp_fc2, when, { nodes }),
    ];
  if (weights === "mlp_fc1")
    return [row(key, numbers, MEANING.mlp_fc1, when, { form: "narrow", nodes })];
  if (normed) {
    const sizes = [rms(trace.numbers(normed.args.x)), rms(numbers)].map((x) => number(x, 2));
    return [row(key, numbers, `{rmsnorm|RMSNorm}: size ${sizes.join(" → ")}`, when, { nodes })];
  }
  if (event === trace.calls[here.call].begin) return embedding(place, key, numbers, nodes, when);
  if (numbers.length < 2) return [];
  const stream = key === "x";
  return [
    row(key, numbers, MEANING[weights] ?? (stream ? "added to the {stream|residual}" : ""), when, {
      by: /^attn_w[qkv]$/.test(weights) ? by : 0,
      stream,
      nodes,
    }),
  ];
}

/** @param {string} key @param {number[]} numbers @param {string} note @param {When} when
 * @param {{by?: number, stream?: boolean, form?: string, nodes?: number[]}} [how] */
function row(key, numbers, note, when, { by = 0, stream = false, form = "", nodes } = {}) {
  return h(
    "div",
    { class: stream ? "row stream" : "row", ...when },
    h("code", {}, key),
    strip(numbers, { label: key, scale: SCALE, group: by, class: form, nodes }),
    h("small", {}, ...explained(note)),
  );
}

/** The letter's row and its place's, and their sum.
 * @param {Place} place @param {string} key @param {number[]} sum @param {number[]} nodes
 * @param {When} when */
function embedding({ trace, here, vocabulary }, key, sum, nodes, when) {
  const { wte, wpe } = trace.params;
  const at = { "data-at": when["data-at"], "data-from": when["data-at"] };
  const token = letter(here.token, vocabulary, "BOS");
  const added = wte?.[here.token] && wpe?.[here.pos];
  /** @param {string} name @param {number} i @param {number[]} numbers */
  const ids = (name, i, numbers) => numbers.map((_, column) => trace.parameter(name, i, column));
  /** @param {string} name @param {number} i @param {number[]} numbers @param {string} note */
  const learned = (name, i, numbers, note) =>
    row(`${name}[${name === "wte" ? token : i}]`, numbers, note, at, {
      nodes: ids(name, i, numbers),
    });
  return [
    ...(added
      ? [
          learned("wte", here.token, wte[here.token], "the letter"),
          learned("wpe", here.pos, wpe[here.pos], "its place"),
        ]
      : []),
    row(key, sum, "their sum", when, { stream: true, nodes }),
  ];
}

/** The KV cache, a row for each position so far.
 * @param {Place} place @param {"keys" | "values"} which @param {number} layer @param {When} when
 * @param {string} weights */
function memory({ trace, pos, config, vocabulary }, which, layer, when, weights) {
  const rows = trace.positions
    .slice(0, pos + 1)
    .flatMap((/** @type {any} */ p, /** @type {number} */ t) => {
      const { index, begin, end } = trace.calls[p.call];
      const name = `${which}[${layer}][${t}]`;
      return trace.events
        .slice(begin, end)
        .filter(({ call, set }) => call === index && name in set)
        .map(({ set }) =>
          h(
            "div",
            { class: t === pos ? "memory-row new" : "memory-row" },
            h("b", {}, letter(p.token, vocabulary, "‣")),
            strip(trace.numbers(set[name]), {
              label: `${which}[${t}]`,
              scale: SCALE,
              group: config.n_embd / config.n_head,
              class: "thin",
              nodes: trace.ids(set[name]),
            }),
          ),
        );
    });
  return h(
    "div",
    { class: "row memory", ...when },
    h("code", {}, which),
    h("div", {}, ...rows),
    h("small", {}, ...explained(MEANING[weights] ?? "")),
  );
}

const ARCS = 46,
  SCORES = 40,
  CELL = 14,
  LETTER = 11; // heights within the panel of a head, and the least width of a letter, in pixels

/** Attention, a panel for each head: the scores q·k, and what softmax makes of them: arcs over the
 * letters, and the grid of all positions so far.
 * @param {Place} place @param {Call} attention @param {number} layer @param {When} when */
function heads(place, attention, layer, when) {
  const { trace, pos, here } = place;
  const soft = trace.calls.filter((c) => c.fn === "softmax" && c.parent === attention.index);
  const wide = Math.max(104, LETTER * trace.positions.length);
  const given = soft.map((c) => Object.values(c.args)[0]);
  const scores = given.map((seen) => trace.numbers(seen));
  const most = Math.max(1e-9, ...scores.flat().map(Math.abs));
  const panel = (
    /** @type {number[]} */ numbers,
    /** @type {number} */ head,
    /** @type {boolean} */ raw,
  ) => {
    const nodes = trace.ids(given[head]);
    const at = raw ? soft[head]?.begin : (soft[head]?.end ?? 0) - 1;
    const ready = at > 0 ? at : when["data-at"];
    const show = (/** @type {number} */ x) => (raw ? number(x, 2) : percent(x));
    const said = numbers.map((x, t) => `${mark(place, t, "BOS")} ${show(x)}`).join(", ");
    const tall = raw ? SCORES + 15 : ARCS + 20 + trace.positions.length * CELL;
    return h(
      "figure",
      { class: raw ? "head raw" : "head", "data-at": ready, "data-from": ready },
      svg(
        "svg",
        {
          viewBox: `0 0 ${wide} ${tall}`,
          role: "group",
          "aria-label": `${raw ? "Scores" : "Weights"} of head ${head} at position ${pos}: ${said}`,
        },
        ...(raw ? bars(place, numbers, nodes, wide, most) : arcs(place, numbers, wide)),
        ...letters(place, wide, raw ? SCORES + 11 : ARCS + 11),
        ...(raw ? [] : grid(place, layer, head, wide)),
      ),
      h("figcaption", {}, `head ${head}`),
    );
  };
  const weights = here.attention[layer].map((/** @type {any} */ runs) => trace.nodes(runs));
  /** @param {string} title @param {string} note @param {number[][]} all @param {boolean} raw */
  const panels = (title, note, all, raw) =>
    h(
      "div",
      { class: "row heads", ...when },
      h("code", {}, title),
      h(
        "div",
        { class: "panels", "--wide": `${wide}px` },
        ...all.map((n, head) => panel(n, head, raw)),
      ),
      h("small", {}, ...explained(note)),
    );
  return [
    ...(scores.length === weights.length
      ? [
          panels(
            "scores",
            "q·k/√head_dim, a {dot product}: how well each key fits the query",
            scores,
            true,
          ),
        ]
      : []),
    panels("weights", "softmax of the scores: each head's shares, of sum 1", weights, false),
  ];
}

/** @param {Place} place @param {number} t @param {string} bos */
function mark({ trace, vocabulary }, t, bos) {
  return letter(trace.positions[t].token, vocabulary, bos);
}

/** The middle of each position in a panel. @param {Place} place @param {number} wide */
function across({ trace }, wide) {
  return (/** @type {number} */ t) => (wide * (t + 0.5)) / trace.positions.length;
}

/** The letters under a panel. @param {Place} place @param {number} wide @param {number} y */
function letters(place, wide, y) {
  const { trace, pos } = place;
  const x = across(place, wide);
  return trace.positions.map((_, t) =>
    svg(
      "text",
      { x: x(t), y, class: t === pos ? "me" : t > pos ? "later" : "" },
      mark(place, t, "‣"),
    ),
  );
}

/** One head's scores, up from the middle or down.
 * @param {Place} place @param {number[]} scores @param {number[]} nodes @param {number} wide
 * @param {number} most */
function bars(place, scores, nodes, wide, most) {
  const x = across(place, wide);
  const thick = Math.min(10, x(1) - x(0) - 2),
    middle = SCORES / 2;
  return [
    svg("path", { class: "tick", d: `M0 ${middle}H${wide}` }),
    ...scores.flatMap((z, t) => {
      const name = `${mark(place, t, "BOS")}: ${number(z, 3)}`;
      const high = Math.max(0.5, (Math.abs(z) / most) * (middle - 2));
      const bar = { x: x(t) - thick / 2, width: thick };
      return [
        svg("rect", {
          ...{ ...bar, y: z < 0 ? middle : middle - high, height: high },
          ...{ class: z < 0 ? "fit minus" : "fit", "data-x": z },
        }),
        svg(
          "rect", // a bar may be too low to be pointed at
          {
            ...bar,
            y: 0,
            height: SCORES,
            class: "reach",
            "data-x": z,
            ...svgValued(nodes[t], name),
          },
          svg("title", {}, name),
        ),
      ];
    }),
  ];
}

/** One head's weights, as arcs from the letter to those before it.
 * @param {Place} place @param {number[]} weights @param {number} wide */
function arcs(place, weights, wide) {
  const x = across(place, wide),
    b = x(place.pos),
    foot = ARCS - 4;
  return weights.map((w, t) => {
    const a = x(t),
      high = foot - Math.min(foot, 8 + (b - a) * 0.55);
    return t === place.pos
      ? svg(
          "circle",
          { cx: b, cy: ARCS - 6, r: 2 + 4 * w, class: "self", "--v": w, "data-x": w },
          svg("title", {}, `itself: ${percent(w)}`),
        )
      : svg(
          "path",
          {
            d: `M${b} ${foot}C${b} ${high} ${a} ${high} ${a} ${foot}`,
            "stroke-width": 0.6 + 5 * w,
            class: "arc",
            "--v": w,
            "data-x": w,
          },
          svg("title", {}, `${mark(place, t, "BOS")}: ${percent(w)}`),
        );
  });
}

/** One head's weights at every position so far, a row each.
 * @param {Place} place @param {number} layer @param {number} head @param {number} wide */
function grid(place, layer, head, wide) {
  const { trace, pos } = place;
  const x = across(place, wide),
    cell = Math.min(CELL, x(1) - x(0));
  return trace.positions
    .slice(0, pos + 1)
    .flatMap((/** @type {any} */ p, /** @type {number} */ t) =>
      unrun(p.attention[layer][head]).map((node, s) => {
        const w = trace.at(node),
          name = `position ${t} from ${s}: ${percent(w)}`;
        return svg(
          "rect",
          {
            x: x(s) - cell / 2,
            y: ARCS + 19 + t * cell,
            width: cell - 1,
            height: cell - 1,
            rx: 2,
            class: t === pos ? "weight me" : "weight",
            "--v": w,
            "data-x": w,
            ...svgValued(node, name),
          },
          svg("title", {}, name),
        );
      }),
    );
}

/** The units of the MLP: filled if alive, hollow if the ReLU has silenced them.
 * @param {Trace} trace @param {any} runs  their nodes @param {When} when */
function units(trace, runs, when) {
  const hidden = trace.nodes(runs),
    nodes = unrun(runs);
  const most = Math.max(1e-9, ...hidden);
  const alive = `${hidden.filter((x) => x > 0).length} of ${hidden.length} units alive`;
  return h(
    "div",
    { class: "row", ...when },
    h("code", {}, "relu"),
    h(
      "div",
      { class: "units", role: "group", "aria-label": alive },
      ...hidden.map((x, i) =>
        h("i", {
          class: x > 0 ? "cell" : "cell dead",
          "data-x": x,
          ...valued(nodes[i], `unit ${i}: ${x > 0 ? number(x, 3) : "silent"}`),
          "--v": Math.sqrt(x / most).toFixed(3),
        }),
      ),
    ),
    h("small", {}, ...explained(`${alive}; the {ReLU} silences the rest`)),
  );
}

/** Logits, probabilities, and what the right answer costs.
 * @param {Place} place @param {number[]} logits @param {number[]} nodes @param {When} when */
function guess({ trace, pos, here, vocabulary }, logits, nodes, when) {
  const probs = trace.nodes(here.probs),
    shares = unrun(here.probs);
  const target = trace.tokens[pos + 1];
  const most = Math.max(...logits.map(Math.abs)),
    top = Math.max(...probs);
  // loss() takes the softmax, and the surprise, after gpt() has returned
  const later = trace.naming(here.probs?.[0]?.[0], when["data-at"]);
  const bars = logits.map((z, i) =>
    h(
      "div",
      { class: i === target ? "score target" : "score" },
      h(
        "span",
        {
          ...{ class: z < 0 ? "logit minus" : "logit", "data-x": z, "--v": Math.abs(z) / most },
          ...valued(nodes[i], `${letter(i, vocabulary)}: logit ${number(z, 2)}`),
        },
        h("i"),
      ),
      h(
        "span",
        {
          ...{ class: "prob", "data-at": later, "data-x": probs[i], "--v": probs[i] / top },
          ...valued(shares[i], `${letter(i, vocabulary)}: ${percent(probs[i])}`),
        },
        h("i"),
      ),
      h("b", {}, letter(i, vocabulary, "·")),
    ),
  );
  const said = probs.map((p, i) => `${letter(i, vocabulary)} ${percent(p)}`).join(", ");
  return h(
    "div",
    { class: "row guessing", ...when },
    h(
      "div",
      { class: "guess-key" },
      h("p", {}, h("code", {}, "logits"), h("small", {}, `±${number(most, 1)}`)),
      h("p", {}, h("code", {}, "probs"), h("small", {}, `0 to ${percent(top)}`)),
    ),
    h("div", { class: "scores", role: "group", "aria-label": `Probabilities: ${said}` }, ...bars),
    verdict(trace, pos, target < vocabulary.length ? vocabulary[target] : "the end", later),
  );
}

/** The right answer: the probability it had, the surprise, and at the end the loss, each from its
 * line on.
 * @param {Trace} trace @param {number} pos @param {string} name @param {number} later */
function verdict(trace, pos, name, later) {
  const { probs, surprise } = trace.positions[pos];
  const p = trace.nodes(probs)[trace.tokens[pos + 1]],
    cost = trace.nodes(surprise)[0];
  const at = trace.naming(surprise?.[0]?.[0], later),
    last = trace.end - 1;
  /** @param {number} event @param {...any} text */
  const from = (event, ...text) => h("span", { "data-at": event, "data-from": event }, ...text);
  return h(
    "p",
    { class: "verdict" },
    from(later, "It is ", h("b", {}, name), `, to which it gave ${percent(p)}`),
    from(
      at,
      ...explained(`: a {surprise} of −ln ${number(p, 3)} = `),
      h("b", { "data-x": cost, ...valued(unrun(surprise)[0], "the surprise") }, number(cost, 3)),
      ...explained(" {nats|nat}."),
    ),
    pos === trace.positions.length - 1 &&
      from(last, ...explained(` The mean over the name, ${number(trace.loss, 4)}, is its {loss}.`)),
  );
}

/** A number in a drawing: its name is for who cannot see it.
 * @param {number | undefined} node @param {string} name */
function svgValued(node, name) {
  const { title, ...looked } = valued(node, name);
  return node === undefined ? {} : { ...looked, "aria-label": title };
}

/** @param {number[]} x */
function rms(x) {
  return Math.sqrt(x.reduce((a, b) => a + b * b, 0) / x.length);
}
