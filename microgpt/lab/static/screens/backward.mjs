// Backward: the loss asks every Value how much it is to blame, one Value at a time.
import { DOWN, h, letter, newest, number, put, region, remember, roving } from "../draw.mjs";
import { order } from "../order.mjs";
import { origins } from "../origin.mjs";
import { explained } from "../terms.mjs";
import { transport } from "../transport.mjs";
import { diagram, gone, madeBy, SILENT, shortOf } from "../value.mjs";
import { word } from "../word.mjs";

/**
 * A place in the list: the statements of a call, or the Values of one of them.
 * @typedef {{title: string, call?: number, event?: number}} Spot
 */

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { config, vocabulary, source, text } = model.get("described");
  const lines = source.split("\n");
  let step = Number(params.step ?? 2),
    chosen = Number(params.node ?? -1); // the Value that is looked at, if it is not its turn
  /** @type {any} zoom.document() of the name */
  let whole;

  const label = "The name to learn from",
    caption = "It learns from";
  const name = word({ model, params, label, caption, fallback: text, heard: begin });
  const sum = h("div", { class: "sum" });
  const walk = transport({
    el,
    label: "Step of backward()",
    unit: "Value",
    part: "statement",
    first: 1,
    speed: 1,
    go: turn,
    jump: (from, by) => nearest(whole.statements, from, by),
  });
  const notes = h("p", { class: "notes", role: "status" });
  const made = h("pre", { class: "made-by" });
  const short = shortOf(config);
  const drawing = diagram({ short, look });
  const list = within(ask, short, look);
  const outside = h("div", { class: "outside" }, notes, made, drawing.element);
  const read = newest(sum, list.element, outside),
    seen = newest(outside);
  el.append(
    h("div", { class: "bar-top" }, h("h1", {}, "Backward"), name.element, sum),
    walk.element,
    h("div", { class: "pair deep" }, list.element, outside),
    order(model),
  );
  const origin = origins({ el, model, text: () => name.text });

  /** @param {string} look @param {object} place */
  function ask(look, place = {}) {
    return model.ask("backward", { text: name.text, look, ...place });
  }

  async function begin() {
    walk.stop();
    origin.hide();
    const found = await read(ask("document"));
    if (!found) return;
    whole = found;
    walk.last = whole.steps - 1;
    const spots = whole.positions.map((/** @type {any} */ p) => ({
      call: p.call,
      title: `position ${p.pos}, ${letter(p.token, vocabulary, "BOS")}`,
    }));
    put(sum, ...terms(whole, vocabulary, look, (i) => list.enter(spots[i], 0)));
    await Promise.all([
      list.enter(spots[Math.min(1, spots.length - 1)], 0),
      chosen >= 0 ? look(chosen) : walk.reach(step),
    ]);
  }

  /** The Value whose turn it is. @param {number} wanted */
  async function turn(wanted) {
    if (!whole) return;
    step = wanted;
    chosen = -1;
    const found = await seen(ask("turn", { step }));
    if (found) await show(found.node.node);
  }

  /** Any Value, as things are after this step. @param {number} node */
  async function look(node) {
    chosen = node;
    await show(node);
  }

  /** @param {number} node */
  async function show(node) {
    const around = await seen(ask("around", { node, step }));
    if (!around) return;
    put(notes, ...says(around, step, short, (to) => walk.reach(to)));
    put(made, madeBy(around, lines));
    drawing.show(around, step);
    remember(el, { text: name.text, step, ...(chosen >= 0 ? { node: chosen } : {}) });
  }

  begin();
  return walk.stop;
}

/** The next of some steps, or the one before; or the one from which it is looked for.
 * @param {number[]} steps @param {number} from @param {1 | -1} by */
function nearest(steps, from, by) {
  return (by > 0 ? steps.find((s) => s > from) : steps.findLast((s) => s < from)) ?? from;
}

/** The loss as the mean of its surprises; each can be looked at.
 * @param {any} whole @param {string} vocabulary @param {(node: number) => void} look
 * @param {(i: number) => void} enter */
function terms({ loss, positions }, vocabulary, look, enter) {
  /** @param {any} value @param {string} name @param {number} digits @param {string} title
   * @param {() => void} onclick */
  const term = (value, name, digits, title, onclick) =>
    h(
      "button",
      { type: "button", class: "term", title, "data-node": value.node, onclick },
      h("b", { "data-x": value.data }, number(value.data, digits)),
      h("small", {}, name),
    );
  return [
    term(loss, "loss", 3, "The loss, in nats", () => look(loss.node)),
    h("span", {}, "= ("),
    ...positions.flatMap((/** @type {any} */ p, /** @type {number} */ i) => {
      const target = letter(p.target, vocabulary);
      const chosen = () => {
        enter(i);
        look(p.surprise.node);
      };
      return [
        i > 0 && h("span", {}, "+"),
        term(p.surprise, target, 2, `The surprise at ${target}, in nats`, chosen),
      ];
    }),
    h("span", {}, `) / ${positions.length} nats`),
  ];
}

/**
 * Make the list that leads down: from a position to its statements, to their Values.
 * @param {(look: string, place: object) => Promise<any>} ask
 * @param {(name: string) => string} short
 * @param {(node: number) => void} look
 */
function within(ask, short, look) {
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
  const list = region("list", "What is inside");
  const listed = newest(list);
  /** @type {Spot[]} the way down to what is listed */
  let path = [];

  /** Go one level down, or back up to a level. @param {Spot} spot @param {number} depth */
  async function enter(spot, depth) {
    path = [...path.slice(0, depth), spot];
    put(crumbs, ...path.flatMap((p, i) => crumb(p, i, path, enter)));
    const { call, event } = spot;
    const found = await listed(
      event === undefined ? ask("operations", { call }) : ask("expression", { event }),
    );
    if (!found) return;
    const down = (/** @type {Spot} */ next) => enter(next, depth + 1);
    put(list, ...(found.operations ? statements(found, down) : values(found, short, look)));
    list.scrollTop = 0;
  }

  return { element: h("div", { class: "within" }, crumbs, list), enter };
}

/** One step of the way down.
 * @param {Spot} spot @param {number} i @param {Spot[]} path
 * @param {(spot: Spot, depth: number) => void} enter */
function crumb(spot, i, path, enter) {
  const current = i === path.length - 1 && "location";
  return [
    i > 0 && h("span", { "aria-hidden": "true" }, "›"),
    h(
      "button",
      { type: "button", class: "quiet", "aria-current": current, onclick: () => enter(spot, i) },
      spot.title,
    ),
  ];
}

/** The statements of a call, with what came back through each.
 * @param {any} found @param {(spot: Spot) => void} down */
function statements({ operations, fn }, down) {
  const most = Math.max(...operations.map((/** @type {any} */ o) => o.size ?? 0), 1e-12);
  const rows = operations.toReversed().map((/** @type {any} */ o) => {
    const title = o.names[0] ?? o.code;
    const into = o.calls.map((/** @type {number} */ call, /** @type {number} */ i) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          title: "Look into the function that it called",
          onclick: () => down({ call, title: "inside" }),
        },
        o.calls.length > 1 ? `into ${i + 1}` : "into it",
      ),
    );
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", onclick: () => down({ event: o.event, title }) },
        h("code", {}, o.code),
        h("i", { "--p": (o.size ?? 0) / most }),
        h(
          "small",
          {},
          o.size === null ? "" : number(o.size, 4),
          h("span", {}, ` · ${o.values} Values`),
        ),
      ),
      into.length > 0 && h("span", { class: "inner" }, ...into),
    );
  });
  roving(
    rows.flatMap((/** @type {HTMLElement} */ row) => [...row.querySelectorAll("button")]),
    DOWN,
  );
  return [
    h(
      "p",
      { class: "key" },
      ...explained(
        `What ${fn}() computed, last first: so the {gradient} meets it. Bars: the gradient's ` +
          "root mean square.",
      ),
    ),
    h("ol", { class: "operations" }, ...rows),
  ];
}

/** The Values of a statement.
 * @param {any} found @param {(name: string) => string} short
 * @param {(node: number) => void} look */
function values({ code, values, more }, short, look) {
  const most = Math.max(...values.map((/** @type {any} */ v) => Math.abs(v.grad)), 1e-12);
  const cards = values.map((/** @type {any} */ v) =>
    h(
      "button",
      {
        type: "button",
        class: v.grad < 0 ? "value minus" : "value",
        "data-node": v.node,
        "data-x": v.grad,
        "--v": Math.abs(v.grad) / most,
        onclick: () => look(v.node),
      },
      h("b", {}, short(v.name)),
      h("span", {}, number(v.data)),
      h("small", {}, v.silent ? "silent" : `grad ${number(v.grad, 4)}`),
    ),
  );
  roving(cards, DOWN);
  return [
    h("pre", {}, h("code", {}, code)),
    h("div", { class: "values" }, ...cards),
    more > 0 && h("p", { class: "key" }, `and ${more} more`),
  ];
}

/** What there is to say of a Value after a step.
 * @param {any} around @param {number} step @param {(name: string) => string} short
 * @param {(step: number) => void} reach */
function says(around, step, short, reach) {
  const { turn: when, op, silent, grad, children, parents } = around;
  const who = h("b", {}, short(around.name));
  if (when === step) {
    const quiet = parents.some((/** @type {any} */ p) => p.silent);
    return [
      who,
      children.length
        ? " takes its turn: every Value computed from it has passed its gradient " +
          `on${quiet ? ", or is silent" : ""}, so its own, ${number(grad, 4)}, is complete. ` +
          "It passes it on, times each local gradient."
        : " takes its turn.",
    ];
  }
  if (silent) return [who, ` is ${SILENT[silent]}. No gradient reaches it.`];
  if (op === "parameter") return [who, ` is learned: its gradient so far is ${number(grad, 4)}.`];
  if (when === null) return [who, " passes nothing on."];
  return [
    who,
    gone(around, step)
      ? ` had its turn at step ${when}. `
      : ` has its turn at step ${when}; until then its gradient may grow. `,
    h("button", { type: "button", onclick: () => reach(when) }, "Go there"),
  ];
}

export default { render };
