// One Value of the graph: what it was computed from, what was computed from it, what flows between.
import { DOWN, h, number, put, roving, svg } from "./draw.mjs";

/** @type {Record<string, string>} */
export const OPS = {
  "+": "a sum of two",
  "*": "a product",
  "**": "a power",
  add: "a sum",
  dot: "a dot product",
  exp: "an exponential",
  log: "a logarithm",
  relu: "a ReLU",
  parameter: "a parameter",
  value: "a number",
};

/** What each operation's local gradient is, in words. @type {Record<string, string>} */
const RULES = {
  "+": "local grad: 1 for both",
  "*": "local grad: the other factor",
  "**": "local grad: n times a to the n − 1",
  add: "local grad: 1 for each",
  dot: "local grad: the partner's data",
  exp: "local grad: itself",
  log: "local grad: 1 over a",
  relu: "local grad: 1 above zero",
};

/** Why no gradient reaches a Value. @type {Record<string, string>} */
export const SILENT = {
  relu: "silent: the ReLU cut it off",
  unused: "silent: the loss does not use it",
};

/**
 * Make the drawing of one Value among its neighbours.
 * @param {{short: (name: string) => string, look: (node: number) => void}} options
 *   short: how a Value's name is written; look: called with the neighbour that was chosen
 */
export function diagram({ short, look }) {
  const element = h("div", {
    class: "diagram",
    role: "region",
    "aria-label": "One Value, what it was computed from, and what was computed from it",
  });
  /** @type {any} */
  let shown = null;
  new ResizeObserver(() => shown && edges(element, shown)).observe(element);
  return {
    element,
    /** @param {any} around  zoom.around() @param {number} step  of backward() */
    show(around, step) {
      shown = around;
      put(
        element,
        parents(around, step, short, look),
        middle(around, step, short),
        children(around, short, look),
      );
      edges(element, around);
    },
  };
}

/** How a Value's name is written: where there is one layer, its name says nothing.
 * @param {{n_layer: number}} config @returns {(name: string) => string} */
export function shortOf({ n_layer: layers }) {
  return (name) => (layers === 1 ? name.replace("layer0.", "") : name);
}

/** The line that made a Value. @param {any} around @param {string[]} lines */
export function madeBy({ line }, lines) {
  return line
    ? h("code", {}, h("span", {}, `${line}  `), lines[line - 1].trim().split("  #")[0])
    : h("code", {}, h("span", {}, "among the parameters"));
}

/** Whether a Value has passed its gradient on by a step. @param {any} value @param {number} step */
export function gone({ turn }, step) {
  return turn !== null && turn <= step;
}

/** @param {any} around @param {number} step @param {(name: string) => string} short
 * @param {(node: number) => void} look */
function parents(around, step, short, look) {
  const cards = around.parents.map((/** @type {any} */ p) =>
    h(
      "button",
      {
        type: "button",
        class: gone(p, step) ? "card gone" : "card",
        "data-node": p.node,
        onclick: () => look(p.node),
      },
      h("b", {}, short(p.name)),
      h("small", {}, p.op),
      h("span", {}, state(p, step)),
    ),
  );
  roving(cards, DOWN);
  const nothing =
    SILENT[around.silent] ?? (around.turn === 1 ? "nothing: it is the loss" : "nothing");
  return h(
    "div",
    { class: "parents" },
    h("h2", {}, "computed from it"),
    ...cards,
    around.more_parents > 0 && h("p", { class: "key" }, `and ${around.more_parents} more`),
    !cards.length && h("p", { class: "key" }, nothing),
  );
}

/** What a Value has to say to those that it was computed from.
 * @param {any} value @param {number} step */
function state(value, step) {
  if (value.silent) return SILENT[value.silent];
  return gone(value, step) || value.grad ? `grad ${number(value.grad, 3)}` : "waits";
}

/** @param {any} around @param {number} step @param {(name: string) => string} short */
function middle(around, step, short) {
  return h(
    "div",
    { class: gone(around, step) ? "middle ready" : "middle" },
    h("b", {}, short(around.name)),
    h("small", {}, OPS[around.op] ?? around.op),
    h(
      "button",
      { type: "button", class: "quiet", "data-node": around.node, "data-press": true },
      "Take it apart",
    ),
    h(
      "dl",
      {},
      h("dt", {}, "data"),
      h("dd", { "data-x": around.data }, number(around.data, 4)),
      h("dt", {}, "grad"),
      h("dd", { "data-x": around.grad, class: "grad" }, number(around.grad, 4)),
    ),
    RULES[around.op] && h("small", {}, RULES[around.op]),
  );
}

/** Why a Value has no children. @param {any} around */
function leaf({ op }) {
  if (op === "parameter") return "nothing: it is one of the numbers that learn";
  if (op === "relu") return "nothing: below zero a ReLU is a constant, and no gradient passes";
  return "nothing";
}

const COLUMNS = ["Value", "data", "local grad", "flows in", "grad so far"];

/** @param {any} around @param {(name: string) => string} short
 * @param {(node: number) => void} look */
function children(around, short, look) {
  const most = widest(around);
  const rows = around.children.map((/** @type {any} */ c) =>
    h(
      "button",
      { type: "button", class: "child", "data-node": c.node, onclick: () => look(c.node) },
      h("b", {}, short(c.name)),
      h("span", {}, number(c.data)),
      h("span", { "data-local": c.local_grad }, number(c.local_grad)),
      h(
        "span",
        {
          class: (c.flow ?? 0) < 0 ? "flow minus" : "flow",
          "data-flow": c.flow,
          "--v": Math.abs(c.flow ?? 0) / most,
        },
        c.flow === null ? "–" : number(c.flow, 4),
      ),
      h("span", { "data-grad": c.grad }, number(c.grad, 4)),
    ),
  );
  roving(rows, DOWN);
  const heads = COLUMNS.map((text) => h("span", {}, text));
  return h(
    "div",
    { class: "children" },
    h("h2", {}, "computed from these"),
    rows.length > 0 && h("p", { class: "columns", "aria-hidden": "true" }, ...heads),
    ...rows,
    around.more_children > 0 && h("p", { class: "key" }, `and ${around.more_children} more`),
    !rows.length && h("p", { class: "key" }, leaf(around)),
  );
}

/** The largest flow to a child. @param {any} around */
function widest({ children }) {
  return Math.max(...children.map((/** @type {any} */ c) => Math.abs(c.flow ?? 0)), 1e-12);
}

/** Draw the edges between the cards, where these lie now.
 * @param {HTMLElement} box @param {any} around */
function edges(box, around) {
  const { left, top, width, height } = box.getBoundingClientRect();
  /** @param {Element} element @param {"left" | "right"} side */
  const end = (element, side) => {
    const r = element.getBoundingClientRect();
    return { x: r[side] - left, y: r.top - top + r.height / 2 };
  };
  /** @param {{x: number, y: number}} a @param {{x: number, y: number}} b @param {object} how */
  const edge = (a, b, how) => {
    const m = (a.x + b.x) / 2;
    return svg("path", { d: `M${a.x} ${a.y}C${m} ${a.y} ${m} ${b.y} ${b.x} ${b.y}`, ...how });
  };
  const most = widest(around);
  const one = /** @type {Element} */ (box.querySelector(".middle"));
  const above = [...box.querySelectorAll(".card")].map((card) =>
    edge(end(card, "right"), end(one, "left"), {
      class: card.classList.contains("gone") ? "edge gone" : "edge",
      "stroke-width": 2,
    }),
  );
  const below = [...box.querySelectorAll(".child")].map((row, i) => {
    const { flow } = around.children[i];
    return edge(end(one, "right"), end(row, "left"), {
      class: flow === null ? "edge" : flow < 0 ? "edge gone minus" : "edge gone",
      "stroke-width": flow === null ? 1 : 0.7 + (4 * Math.abs(flow)) / most,
    });
  });
  box.querySelector(".edges")?.remove();
  box.prepend(
    svg("svg", { class: "edges", width, height, "aria-hidden": "true" }, ...above, ...below),
  );
}
