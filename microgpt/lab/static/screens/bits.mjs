// How few bits will do: the loss of every Qm.n, and two dials that choose one.
import { chart, plot, ticks } from "../chart.mjs";
import { dial, h, latest, put, svg } from "../draw.mjs";
import { runner } from "../runner.mjs";

/** @typedef {{m: number, n: number, loss: number, choosing: number, saturations: number}} Point */
/** @typedef {{m: number, n: number}} Form */
/** @typedef {{names: number, unseen: boolean, float: number, uniform: number}} About  what the
 *   points were measured on */
/** @typedef {{text: string, logits: number[][], loss: number, saturations: number, refused?:
 *   string}} Fixed */

const REGISTER = 16; // bits
const TOP = 3.6; // the highest loss that is drawn

/** @param {number} count */
const clamped = (count) =>
  count ? `${count.toLocaleString("en")} results clamped` : "nothing clamped";

/**
 * @param {{model: import("../app.mjs").Model, params: Record<string, string>, text: () => string,
 *   turned: () => void}} options
 */
export function bits({ model, params, text, turned }) {
  const form = { m: Number(params.m ?? 8), n: Number(params.n ?? 8) };
  /** @type {Fixed | null} what fixed makes of the name in Qm.n */
  let fixed = null;
  /** @type {About | null} */
  let about = null;
  /** @type {Point[]} */
  const points = [];
  const before = dial({
    label: "m, before the point",
    min: 1,
    max: REGISTER - 1,
    step: 1,
    value: form.m,
    hint: "How large a number can be: the sign, and m − 1 bits.",
    turned: (m) => turn(m, Math.min(form.n, REGISTER - m)),
  });
  const behind = dial({
    label: "n, behind it",
    min: 1,
    max: REGISTER - 1,
    step: 1,
    value: form.n,
    hint: "How fine it is: steps of 1/2ⁿ.",
    turned: (n) => turn(Math.min(form.m, REGISTER - n), n),
  });
  const headline = h("p", { class: "headline", role: "status" });
  const key = h("p", { class: "key" });
  const losses = chart({
    class: "losses",
    draw: (wide, tall) => (about ? drawn(wide, tall, about, points, form, turn) : NOTHING),
  });
  const element = h(
    "section",
    { class: "bits", hidden: true },
    explanation(before.element, behind.element),
    h("div", {}, headline, losses.element, key),
  );

  const run = runner(model, "bits", (event) => {
    if (event.error) throw new Error(event.error);
    if (event.float) about = event;
    if (event.m) points.push(event);
    paint();
  });
  const askFixed = latest(
    (/** @type {Form & {text: string}} */ question) => model.ask("fixed", question),
    (answer, question) => {
      fixed = { ...answer, text: question.text };
      paint();
      turned();
    },
  );

  /** @param {number} m @param {number} n */
  function turn(m, n) {
    Object.assign(form, { m, n });
    before.set(m);
    behind.set(n);
    fixed = null;
    askFixed({ text: text(), ...form });
    paint();
    turned();
  }

  function paint() {
    const here = points.find((p) => p.m === form.m && p.n === form.n);
    put(headline, ...summary(form, here, about, fixed));
    if (about) put(key, ...legend(about));
    losses.paint();
  }

  return {
    element,
    form,
    /** What fixed makes of the name in this form, once it has answered, and if it can. */
    get fixed() {
      return fixed?.refused ? null : fixed;
    },
    /** Read the name in this form; measure each form, once a visit: the server remembers. */
    async measure() {
      element.hidden = false;
      turn(form.m, form.n);
      if (run.going || points.length) return;
      element.setAttribute("aria-busy", "true");
      if (await run.start({})) element.setAttribute("aria-busy", "false");
    },
    stop: run.stop,
  };
}

const NOTHING = { parts: [], label: "Loss against bits, not measured yet" };

/** @param {...HTMLElement} dials */
function explanation(...dials) {
  return h(
    "div",
    {},
    h("h2", { class: "engine-name" }, "How few bits?"),
    h(
      "p",
      { class: "key" },
      "The integer engine keeps every number, the weights and all that is computed of them, " +
        "in Qm.n: m bits before the point, n behind, 16 at most. " +
        "Sums of products have 32 bits; what does not fit is clamped. exp and 1/√ are tables " +
        "of 256 entries; logits leave it in 256ths.",
    ),
    ...dials,
  );
}

/** What the dials have chosen, and what it comes to.
 * @param {Form} form @param {Point | undefined} here @param {About | null} about
 * @param {Fixed | null} fixed */
function summary({ m, n }, here, about, fixed) {
  return [
    h("span", {}, h("b", {}, `Q${m}.${n}`), ` ${m + n} bits`),
    here &&
      about &&
      h(
        "span",
        {},
        "loss ",
        h("b", { class: "held-out", "data-x": here.loss }, here.loss.toFixed(4)),
        ` on ${about.names} names, `,
        h("span", { class: "clamped", "data-x": here.saturations }, clamped(here.saturations)),
      ),
    fixed?.refused && h("span", { class: "refused" }, fixed.refused),
    fixed &&
      !fixed.refused &&
      h(
        "span",
        {},
        "on ",
        h("i", {}, fixed.text || "nothing"),
        ` ${fixed.loss.toFixed(4)}, ${clamped(fixed.saturations)}`,
      ),
  ];
}

/** @param {About} about */
function legend({ names, unseen }) {
  const which = unseen ? " that the model has not learned from" : "";
  return [
    `The loss on ${names} names of the built-in list${which}. A dot: one way to divide the ` +
      "bits; press it to choose it. ",
    "Line: the best of each width, chosen on other names. What could leave 32 bits is not " +
      "drawn; a dot at the top edge is worse still.",
  ];
}

/** The best way to divide each width: chosen on other names than those shown.
 * @param {Point[]} points */
function bestOf(points) {
  const widths = Map.groupBy(points, (p) => p.m + p.n);
  return [...widths]
    .sort(([a], [b]) => a - b)
    .map(([, splits]) => splits.reduce((a, b) => (b.choosing < a.choosing ? b : a)));
}

/** The loss on names held out against bits, and what the dials have chosen.
 * @param {number} wide @param {number} tall @param {About} about @param {Point[]} points
 * @param {Form} form
 * @param {(m: number, n: number) => void} turn */
function drawn(wide, tall, about, points, form, turn) {
  const low = about.float - 0.14;
  const area = plot(wide, tall, {
    x: { from: 1.5, to: REGISTER + 0.5, ticks: ticks(2, REGISTER, 1), title: "bits of a number" },
    y: {
      from: low,
      to: TOP,
      ticks: ticks(low, TOP, 0.2),
      title: "loss on held-out names (nats a token)",
    },
  });
  const best = bestOf(points);
  const here = points.find((p) => p.m === form.m && p.n === form.n);
  const parts = [
    ...area.frame,
    ...area.level(about.uniform, `knowing nothing ${about.uniform.toFixed(4)}`),
    ...area.level(about.float, `in floating point ${about.float.toFixed(4)}`, "below"),
    ...points.map((p) =>
      svg(
        "circle",
        {
          class: "split",
          cx: area.x(p.m + p.n),
          cy: area.y(p.loss),
          r: 3.5,
          onpointerdown: () => turn(p.m, p.n),
        },
        svg("title", {}, `Q${p.m}.${p.n}: ${p.loss.toFixed(4)}, ${clamped(p.saturations)}`),
      ),
    ),
    best.length > 1 &&
      svg("path", { class: "line", d: area.line(best.map((p) => [p.m + p.n, p.loss])) }),
    here &&
      svg("circle", { class: "here", cx: area.x(here.m + here.n), cy: area.y(here.loss), r: 7 }),
  ];
  const said = best.map((p) => `${p.m + p.n} bits: ${p.loss.toFixed(3)} in Q${p.m}.${p.n}`);
  return { parts, label: `Loss against bits. ${said.join("; ")}` };
}
