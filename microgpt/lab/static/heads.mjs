// One model's picture of a text: every head of every layer, the stream, what each layer would say.
import { h, number, percent, put, region, roving, strip } from "./draw.mjs";
import { explained } from "./terms.mjs";

/** @typedef {import("./app.mjs").Model} Model */

/**
 * What inside.py says of a text.
 * @typedef {object} Picture
 * @property {string[]} tokens  and, where it is known, what comes last
 * @property {number[]} losses  of each token but the first
 * @property {number[][][][]} attention  layer, head, position, what it takes from those so far
 * @property {[string, number][][][]} guesses  before each layer and after the last, position
 * @property {number[][]} sizes  of the stream there
 */

/** @typedef {{layer: number, head: number, pos: number}} Place  what is looked at */

const LONGEST = 14; // characters of a token
const BARS = 5; // of a guess
const PLAIN = 64; // numbers: as many are drawn one by one; more are an image

/** How a token is written: its spaces can be seen; BOS has no text.
 * @param {string} token @param {string} [bos] */
export function shown(token, bos = "BOS") {
  if (token === "") return bos;
  const seen = token.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
  return seen.length > LONGEST ? `${seen.slice(0, LONGEST - 1)}…` : seen;
}

/** Numbers from 0 to 1 as an image of one pixel each, for a mask: the sheet gives the colour.
 * @param {number[][]} rows @param {number} wide */
function mask(rows, wide) {
  const canvas = h("canvas", { width: wide, height: rows.length });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(wide, rows.length);
  for (const [y, row] of rows.entries())
    for (const [x, value] of row.entries())
      image.data[4 * (y * wide + x) + 3] = 255 * Math.max(0, Math.min(1, value));
  context.putImageData(image, 0, 0);
  return `url(${canvas.toDataURL()})`;
}

/** All heads, a small picture each: a row a layer. The arrows lead from one to the next.
 * @param {Picture} picture @param {Place} at @param {(layer: number, head: number) => void} open */
export function overview({ attention }, at, open) {
  const across = attention[0].length;
  const buttons = attention.flatMap((layer, i) =>
    layer.map((rows, j) =>
      h(
        "button",
        {
          type: "button",
          class: "thumb",
          title: `layer ${i}, head ${j}`,
          "aria-label": `layer ${i}, head ${j}`,
          "aria-pressed": String(i === at.layer && j === at.head),
          onclick: () => open(i, j),
        },
        h("i", { "--mask": mask(rows, rows.length) }),
      ),
    ),
  );
  roving(buttons, { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across });
  const rows = attention.map((_, i) =>
    h("div", { class: "layer" }, h("small", {}, i), ...buttons.slice(i * across, (i + 1) * across)),
  );
  const label = "All heads: a row for each layer";
  return h(
    "div",
    { class: "all-heads", role: "group", "aria-label": label, "--across": across },
    ...rows,
  );
}

/** One head: a row for each token, a column for each that it looks at.
 * @param {Picture} picture @param {Place} at @param {(pos: number) => void} choose */
export function head({ attention, tokens }, { layer, head, pos }, choose) {
  const rows = attention[layer][head];
  const names = tokens.slice(0, rows.length).map((token) => shown(token));
  const top = h(
    "tr",
    {},
    h("td", {}),
    ...names.map((name) => h("th", { scope: "col" }, h("span", {}, name))),
  );
  const body = rows.map((row, t) =>
    h(
      "tr",
      { class: t === pos ? "me" : "", onclick: () => choose(t) },
      h("th", { scope: "row" }, names[t]),
      ...row.map((w, s) =>
        h("td", {
          class: "weight",
          "--v": w,
          "data-x": w,
          title: `${names[t]} takes ${percent(w)} from ${names[s]}`,
        }),
      ),
    ),
  );
  const order = [...rows[pos].keys()].sort((a, b) => rows[pos][b] - rows[pos][a]).slice(0, 4);
  const most = order.map((s) => `${names[s]} ${percent(rows[pos][s])}`).join(", ");
  const label = `Layer ${layer}, head ${head}`;
  return [
    h("h3", {}, label),
    region(
      "grid-box",
      label,
      h("table", { class: "grid", "--across": names.length }, top, ...body),
    ),
    h("p", { class: "key", role: "status" }, `${names[pos]} takes most from ${most}.`),
  ];
}

/** The next token's probabilities: the model's guess at a position, and, as lines, another's.
 * @param {Picture} picture @param {Place} at @param {Picture | null} other  of the same tokens */
export function guess({ guesses, tokens }, { pos }, other) {
  const best = /** @type {[string, number][][]} */ (guesses.at(-1))[pos].slice(0, BARS);
  const theirs = new Map(other?.guesses.at(-1)?.[pos]);
  const came = tokens[pos + 1];
  return [
    h("h3", {}, `After ${shown(tokens[pos])}`),
    h(
      "ol",
      { class: "best" },
      ...best.map(([token, p]) =>
        h(
          "li",
          { "data-p": p, class: token === came ? "came" : "" },
          h("code", {}, shown(token, "end")),
          h("i", { "--p": p, "--other": theirs.get(token) ?? 0, "data-other": theirs.get(token) }),
          h("span", {}, percent(p)),
        ),
      ),
    ),
    other && h("p", { class: "key" }, "The lines are the other model's."),
  ];
}

/** The logit lens: what would be said if the model ended at each layer; the size of the stream.
 * @param {Picture} picture @param {Place} at */
export function lens({ guesses, sizes }, { pos }) {
  const rows = guesses.map((layer, i) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, i ? `layer ${i - 1}` : "embedding"),
      ...layer[pos]
        .slice(0, 3)
        .map(([token, p]) =>
          h(
            "td",
            { "--p": p, "data-p": p, title: percent(p) },
            h("code", {}, shown(token, "end")),
            " ",
            h("small", {}, percent(p)),
          ),
        ),
      h("td", { class: "size" }, number(sizes[i][pos], 1)),
    ),
  );
  const first = ["after", "1st", "2nd", "3rd", "size"].map((name) =>
    h("th", { scope: "col" }, name),
  );
  return [
    h("h3", {}, "If it ended there"),
    h(
      "p",
      { class: "key" },
      ...explained("The {residual} stream after each layer, read as the last one is: the "),
      "logit lens. Its size is the root mean square.",
    ),
    region(
      "lens-box",
      "The logit lens",
      h("table", { class: "lens" }, h("tr", {}, ...first), ...rows),
    ),
  ];
}

/** The stream at one position: a row after each layer, in full colour what is 2.5 times its size.
 * @param {number[][]} rows */
export function stream(rows) {
  const said = h("p", { class: "key", role: "status" }, "Point at a row for its numbers.");
  const drawn = rows.map((numbers, i) => {
    const name = i ? `layer ${i - 1}` : "embedding";
    const size = Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0) / numbers.length);
    const scale = 2.5 * size || 1;
    return h(
      "div",
      { class: "row-of" },
      h("small", {}, name),
      numbers.length > PLAIN
        ? image(numbers, scale, `${name}: size ${number(size, 2)}`, (j) =>
            put(said, `${name}[${j}] = ${number(numbers[j], 4)}`),
          )
        : strip(numbers, { label: name, scale, class: "thin" }),
    );
  });
  return [h("h3", {}, "The residual stream"), h("div", { class: "rows" }, ...drawn), said];
}

/** @param {number[]} numbers @param {number} scale @param {string} label
 * @param {(index: number) => void} pointed */
function image(numbers, scale, label, pointed) {
  const side = (/** @type {1 | -1} */ sign) =>
    mask([numbers.map((x) => (sign * x) / scale)], numbers.length);
  const element = h(
    "span",
    { class: "line-of", role: "img", "aria-label": label },
    h("i", { "--mask": side(1) }),
    h("i", { class: "minus", "--mask": side(-1) }),
  );
  element.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const { left, width } = element.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / width) * numbers.length);
    pointed(Math.max(0, Math.min(numbers.length - 1, index)));
  });
  return element;
}

/** A button for each position: its token, the next, and what that cost.
 * @param {Picture} picture @param {Place} at @param {(pos: number) => void} choose */
export function positions({ tokens, losses, attention }, { pos }, choose) {
  const count = attention[0][0].length;
  const buttons = tokens.slice(0, count).map((token, t) => {
    const name = t + 1 < tokens.length ? shown(tokens[t + 1], "end") : "";
    const cost = losses[t];
    return h(
      "button",
      {
        type: "button",
        class: "position",
        "aria-current": t === pos ? "true" : null,
        title: name ? `the surprise at ${name} is ${number(cost, 3)} nats` : "what is to come",
        onclick: () => choose(t),
      },
      h("b", {}, shown(token)),
      h("small", {}, name ? `→ ${name}` : "→ ?"),
      h("span", { class: "cost", "data-x": cost, "--p": Math.min(1, (cost ?? 0) / 8) }),
    );
  });
  roving(buttons);
  return buttons;
}
