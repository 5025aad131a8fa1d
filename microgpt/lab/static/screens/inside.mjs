// Inside: every head and layer of a model, of ours or a published one; two models side by side.
import { h, number, put, remember } from "../draw.mjs";
import { shown } from "../heads.mjs";
import { alike, pane } from "../pane.mjs";

/** @typedef {import("../app.mjs").Model} Model */
/** @typedef {import("../heads.mjs").Picture} Picture */
/** @typedef {import("../heads.mjs").Place} Place */
/** @typedef {import("../pane.mjs").Pane} Pane */
/** @typedef {{name: string, title: string}} Named */

const SENTENCE = "The capital of France is";
const NOTHING = "nothing"; // no model has this name: theirs are "", shipped, opened-N, RUN-STEP

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  /** @type {Pane[]} */
  let panes = [];
  let shows = 0;
  const at = {
    layer: Math.max(0, Math.floor(Number(params.layer)) || 0),
    head: Math.max(0, Math.floor(Number(params.head)) || 0),
    pos: Math.max(0, Math.floor(Number(params.pos ?? Number.NaN))),
  };
  const chosen = [params.model ?? model.get("described").trained, params.beside ?? NOTHING];
  const how = { "aria-label": "The text to read", autocomplete: "off", spellcheck: "false" };
  const text = h("input", { type: "text", ...how, onchange: read });
  const selects = ["Model", "Beside it"].map((label, i) =>
    h("select", { "aria-label": label, onchange: () => choose(i) }),
  );
  const columns = h("div", { class: "panes" });
  const difference = h("p", { class: "said", role: "status" });
  el.append(top(text, selects), difference, columns);

  /** @param {number} i */
  function choose(i) {
    chosen[i] = selects[i].value;
    fill();
  }

  /** Make a pane for each model that was chosen. */
  async function fill() {
    const mine = ++shows;
    const models = await known(model);
    if (!models.some(({ name }) => name === chosen[0])) chosen[0] = model.get("described").trained;
    for (const [i, select] of selects.entries()) options(select, models, chosen[i], i === 1);
    const names = chosen.filter((name) => models.some((m) => m.name === name));
    const bound = await Promise.all(names.map((name) => model.of(name)));
    if (mine !== shows) return;
    panes = bound.map((of, i) =>
      pane(of, /** @type {Named} */ (models.find((m) => m.name === names[i])).title, at, look),
    );
    const words = bound.every((of) => of.get("described").vocabulary);
    text.value ||= params.text ?? (words ? (model.get("word") ?? "emma") : SENTENCE);
    columns.dataset.count = panes.length;
    put(columns, ...panes.map((p) => p.element));
    await read();
  }

  async function read() {
    const mine = shows;
    const all = panes;
    put(difference);
    say();
    await Promise.all(all.map((p) => p.read(text.value)));
    if (mine !== shows) return;
    put(difference, compared(all.map((p) => p.picture)));
    const [a, b] = all;
    if (b && alike(a, b, { pos: 0 })) {
      a.beside(b.picture);
      b.beside(a.picture);
    }
  }

  /** Look at a place in one pane, and in the other where it has the same.
   * @param {Pane} from @param {Partial<Place>} place */
  function look(from, place) {
    for (const p of panes) if (p === from || alike(p, from, place)) p.look(place);
    Object.assign(at, place);
    say();
  }

  function say() {
    const { layer, head, pos } = at;
    const [of, beside] = chosen;
    remember(el, {
      text: text.value,
      model: of,
      ...(beside === NOTHING ? {} : { beside }),
      ...{ layer, head },
      ...(Number.isNaN(pos) ? {} : { pos }),
    });
  }

  fill();
  return () => {
    shows++;
  };
}

/** @param {HTMLElement} text @param {HTMLElement[]} selects */
function top(text, selects) {
  return h(
    "div",
    { class: "bar-top" },
    h("h1", {}, "Inside"),
    h("div", { class: "read" }, h("span", { "aria-hidden": "true" }, "The model reads"), text),
    ...selects.map((select, i) =>
      h("label", { class: "which-model" }, i ? "beside " : "model ", select),
    ),
  );
}

/** All models that can be shown: the host's, and those trained on this page.
 * @param {Model} model @returns {Promise<Named[]>} */
async function known(model) {
  /** @type {Named[]} */
  const found = await model.ask("models");
  const { trained } = model.get("described");
  const kept = model.get("kept").map((/** @type {{name: string, kind: string}} */ made) => ({
    name: made.name,
    title: `${made.kind === "tuning" ? "tuned" : "trained"} here, ${steps(made.name)}`,
  }));
  const all = [...found, ...kept];
  if (all.some(({ name }) => name === trained)) return all;
  return [...all, { name: trained, title: `trained here, ${steps(trained)}` }];
}

/** @param {string} name  RUN-STEP */
function steps(name) {
  return `${Number(name.split("-").at(-1)).toLocaleString("en")} steps`;
}

/** @param {any} select @param {Named[]} models @param {string} value @param {boolean} optional */
function options(select, models, value, optional) {
  const none = optional ? [{ name: NOTHING, title: "nothing" }] : [];
  put(
    select,
    ...[...none, ...models].map(({ name, title }) =>
      h("option", { value: name, selected: name === value }, title),
    ),
  );
}

/** How two models differ, where they read the same tokens. @param {(Picture | null)[]} pictures */
function compared(pictures) {
  const [a, b] = pictures;
  if (!a?.losses.length) return "";
  const mean = (/** @type {Picture} */ { losses }) =>
    losses.reduce((sum, x) => sum + x, 0) / losses.length;
  const one = `${number(mean(a), 2)} nats a token`;
  if (!b?.losses.length) return `Its surprise: ${one}.`;
  const both = `Left ${one}, right ${number(mean(b), 2)}.`;
  if (JSON.stringify(a.tokens) !== JSON.stringify(b.tokens))
    return `${both} They read other tokens, so these cannot be compared.`;
  const gaps = a.losses.map((x, i) => b.losses[i] - x);
  const most = gaps.reduce((best, x, i) => (Math.abs(x) > Math.abs(gaps[best]) ? i : best), 0);
  if (Math.abs(gaps[most]) < 0.005) return `${both} No token tells them apart.`;
  const name = shown(a.tokens[most + 1], "the end");
  return (
    `${both} They differ most at token ${most + 1}, ${name}: ` +
    `${number(a.losses[most], 2)} and ${number(b.losses[most], 2)}.`
  );
}

export default { render };
