// One model's column on the screen Inside: what it makes of a text, and the place looked at.
import { h, newest, put } from "./draw.mjs";
import { guess, head, lens, overview, positions, stream } from "./heads.mjs";
import { fold } from "./word.mjs";

/** @typedef {import("./app.mjs").Model} Model */
/** @typedef {import("./heads.mjs").Picture} Picture */
/** @typedef {import("./heads.mjs").Place} Place */

const HEADS =
  "A row for each layer. A dark first column: the head rests on the first token, for its " +
  "weights must go somewhere.";

/** @typedef {ReturnType<typeof pane>} Pane */

/** One model's column. @param {Model} model @param {string} title @param {Place} first
 * @param {(from: any, place: Partial<Place>) => void} looked */
export function pane(model, title, first, looked) {
  const { vocabulary, config, n_params: size } = model.get("described");
  const at = { ...first };
  const { element, said, tabs, parts, body } = frame(title, sizes(config, size, vocabulary));
  const answered = newest(tabs, body);
  const streamed = newest(parts.stream);
  let text = "";
  /** @type {Picture | null} the other model's, of the same tokens */
  let other = null;

  /** @param {string} typed */
  async function read(typed) {
    const folded = vocabulary ? fold(typed, vocabulary, config.block_size) : null;
    text = folded ? folded.text : typed;
    put(said, folded?.said || (vocabulary ? "" : "reading …"));
    try {
      /** @type {Picture | null} */
      const found = await answered(model.ask("inside", { text }));
      if (!found) return;
      self.picture = found;
      other = null;
      if (folded) model.set("word", text);
      else put(said);
      draw();
    } catch (error) {
      put(said, /** @type {Error} */ (error).message);
    }
  }

  /** Draw what there is to see, from a part on. */
  function draw() {
    const picture = /** @type {Picture} */ (self.picture);
    at.layer = Math.min(at.layer, config.n_layer - 1);
    at.head = Math.min(at.head, config.n_head - 1);
    put(
      parts.overview,
      h("h3", {}, "Every head"),
      h("p", { class: "key" }, HEADS),
      overview(picture, at, (layer, head) => looked(self, { layer, head })),
    );
    one();
  }

  function one() {
    const picture = /** @type {Picture} */ (self.picture);
    const last = picture.attention[0][0].length - 1;
    const place = { ...at, pos: Math.min(last, Number.isNaN(at.pos) ? last : at.pos) };
    const choose = (/** @type {number} */ pos) => looked(self, { pos });
    const held = tabs.contains(document.activeElement);
    put(tabs, ...positions(picture, place, choose));
    if (held) tabs.querySelector("[aria-current]").focus();
    put(parts.head, ...head(picture, place, choose));
    put(parts.guess, ...guess(picture, place, other));
    put(parts.lens, ...lens(picture, place));
    streamed(model.ask("stream", { text, pos: place.pos })).then((rows) => {
      if (rows) put(parts.stream, ...stream(rows));
    });
  }

  const self = {
    element,
    config,
    read,
    /** @type {Picture | null} */
    picture: null,
    /** @param {Picture | null} picture */
    beside(picture) {
      other = picture;
      one();
    },
    /** @param {Partial<Place>} place */
    look(place) {
      Object.assign(at, place);
      for (const [i, button] of [...element.querySelectorAll(".thumb")].entries())
        button.setAttribute("aria-pressed", String(i === at.layer * config.n_head + at.head));
      one();
    },
  };
  return self;
}

/** Where a pane's parts will be. @param {string} title @param {string} sentence */
function frame(title, sentence) {
  const said = h("p", { class: "refused", role: "status" });
  const boxes = Object.fromEntries(
    ["positions", "overview", "head", "guess", "lens", "stream"].map((name) => [
      name,
      h("div", { class: name === "positions" ? name : `part of-${name}` }),
    ]),
  );
  const { positions: tabs, ...parts } = boxes;
  const body = h("div", { class: "parts" }, ...Object.values(parts));
  const element = h(
    "section",
    { class: "pane", "aria-label": title },
    h("h2", {}, title),
    h("p", { class: "key" }, sentence),
    said,
    tabs,
    body,
  );
  return { element, said, tabs, parts, body };
}

/** A model in a sentence.
 * @param {any} config @param {number} size @param {string | null} vocabulary */
function sizes(config, size, vocabulary) {
  const { n_layer: layers, n_head: heads, n_embd: wide, n_kv_head: shared } = config;
  const each = layers > 1 ? `${layers} layers of ${heads} heads` : `one layer of ${heads} heads`;
  const kv = shared && shared < heads ? `, which share ${shared} keys and values` : "";
  const token = `A token is ${wide} numbers`;
  const other = vocabulary ? "." : ". This screen alone shows it: the others run gpt.py.";
  return `${size.toLocaleString("en")} numbers, in ${each}${kv}. ${token}${other}`;
}

/** Whether a place is in both panes: the same head of as many, the same token of the same.
 * @param {Pane} one @param {Pane} other @param {Partial<Place>} place */
export function alike(one, other, place) {
  if (!one.picture || !other.picture) return false;
  if (place.pos !== undefined)
    return JSON.stringify(one.picture.tokens) === JSON.stringify(other.picture.tokens);
  return one.config.n_layer === other.config.n_layer && one.config.n_head === other.config.n_head;
}
