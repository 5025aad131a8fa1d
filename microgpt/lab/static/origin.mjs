// Any number: where it comes from, its sum written out, and what the loss does when it moves.
import { h, newest, number, put, strip } from "./draw.mjs";
import { madeBy, OPS, shortOf } from "./value.mjs";

/** @typedef {(look: string, place: object) => Promise<any>} Ask */

const SCALE = 2.5; // what is drawn in full colour, as elsewhere
const PATIENCE = 300; // ms that the pointer may take from a number to the panel
const NUMBER = "[data-node]";

/**
 * Show where the numbers of a view come from: each element with `data-node`, a Value of gpt.py's
 * run, while the pointer or the focus is on it. Those with `data-press` can be pressed, too: then
 * the panel stays.
 * @param {object} options
 * @param {HTMLElement} options.el  the view
 * @param {import("./app.mjs").Model} options.model
 * @param {() => string} options.text  the word that it reads
 */
export function origins({ el, model, text }) {
  const { source, config } = model.get("described");
  const panel = panelOf({
    lines: source.split("\n"),
    ask: (look, place) => model.ask("backward", { text: text(), look, ...place }),
    short: shortOf(config),
    leave,
  });
  /** @type {HTMLElement | null} the number that is shown */
  let anchor = null;
  let timer = 0;

  /** @param {EventTarget | null} target @returns {HTMLElement | null} */
  const numberAt = (target) => {
    const found = /** @type {Element} */ (target).closest?.(NUMBER);
    return found && !found.closest(".todo") ? /** @type {HTMLElement} */ (found) : null;
  };

  /** @param {HTMLElement} found */
  function show(found) {
    clearTimeout(timer);
    if (panel.pinned || found === anchor) return;
    mark(found);
    panel.show(Number(found.dataset.node), found.getBoundingClientRect());
  }

  /** @param {HTMLElement | null} found */
  function mark(found) {
    anchor?.classList.remove("looked-at");
    found?.classList.add("looked-at");
    anchor = found;
  }

  /** @param {HTMLElement} found */
  function pin(found) {
    panel.pinned = false;
    show(found);
    panel.pinned = true;
    panel.element.focus();
  }

  function hide() {
    clearTimeout(timer);
    mark(null);
    panel.pinned = false;
    panel.element.hidePopover();
  }

  /** Hide it, and go back to where it was opened. */
  function leave() {
    const back = anchor;
    back?.focus();
    hide();
  }

  el.append(panel.element);
  el.addEventListener("pointerover", (event) => {
    const found = numberAt(event.target);
    if (event.pointerType === "mouse" && found) show(found);
    if (panel.element.contains(/** @type {Node} */ (event.target))) clearTimeout(timer);
  });
  el.addEventListener("pointerout", () => {
    clearTimeout(timer);
    if (!panel.pinned && !anchor?.matches(":focus")) timer = setTimeout(hide, PATIENCE);
  });
  el.addEventListener("focusin", ({ target }) => {
    const found = numberAt(target);
    const pressed = found && !found.matches("[data-press], :focus-visible"); // it has its own job
    if (found && !pressed) show(found);
    else if (!panel.element.contains(/** @type {Node} */ (target))) hide();
  });
  el.addEventListener("click", ({ target }) => {
    const found = numberAt(target);
    if (found?.matches("[data-press]")) pin(found);
  });
  const keys = { pin, leave, panel: panel.element };
  el.addEventListener("keydown", (event) => pressed(event, el, numberAt(event.target), keys), true);
  return { hide };
}

/** The keys: arrows from number to number, Enter to make the panel stay, Escape to leave it.
 * @param {KeyboardEvent} event @param {HTMLElement} el @param {HTMLElement | null} found
 * @param {{pin: (found: HTMLElement) => void, leave: () => void, panel: HTMLElement}} how */
function pressed(event, el, found, { pin, leave, panel }) {
  const { key } = event;
  const enters = key === "Enter" && !found && !panel.contains(/** @type {Node} */ (event.target));
  const region = /** @type {HTMLElement} */ (event.target).closest(".drawing");
  if (key === "Escape" && panel.matches(":popover-open")) leave();
  else if (found?.matches("[data-press]") && (key === "Enter" || key === " ")) pin(found);
  else if (found?.matches("[data-press]") && key.startsWith("Arrow"))
    beside(el, found, key)?.focus();
  else if (enters && region === event.target) firstOf(/** @type {HTMLElement} */ (region))?.focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** The number that a walk of a region begins with: of those there are, one being computed.
 * @param {HTMLElement} region */
function firstOf(region) {
  const numbers = [...region.querySelectorAll("[data-press]")].filter(shown);
  return numbers.find((found) => found.closest(".now")) ?? numbers[0];
}

/** The number beside one, in its row; above or below, in the row before or after.
 * @param {HTMLElement} el @param {HTMLElement} from @param {string} key
 * @returns {HTMLElement | undefined} */
function beside(el, from, key) {
  const row = from.closest("[role=group]") ?? from;
  /** @param {Element} group @returns {HTMLElement[]} */
  const numbers = (group) => [...group.querySelectorAll("[data-press]")].filter(shown);
  const at = numbers(row).indexOf(from);
  if (key === "ArrowLeft") return numbers(row)[Math.max(0, at - 1)];
  if (key === "ArrowRight") return numbers(row)[at + 1];
  const rows = [...el.querySelectorAll("[role=group]")].filter((g) => numbers(g).length);
  const next = rows[rows.indexOf(row) + (key === "ArrowDown" ? 1 : -1)];
  return next && numbers(next)[Math.min(at, numbers(next).length - 1)];
}

/** Whether a number has been computed by now. @param {Element} element
 * @returns {element is HTMLElement} */
function shown(element) {
  return !element.closest(".todo") && element.checkVisibility();
}

/** The panel: one Value, taken apart.
 * @param {{lines: string[], ask: Ask, short: (name: string) => string,
 *   leave: () => void}} options */
function panelOf({ lines, ask, short, leave }) {
  const body = h("div", {});
  const back = h("button", { type: "button", class: "quiet", onclick: () => go(-1) }, "Back");
  const close = h("button", { type: "button", class: "quiet", onclick: leave }, "Close");
  const nudged = h("p", { class: "nudged", role: "status" });
  const by = h(
    "select",
    { onchange: () => nudge() },
    ...[1, 2, 3].map((digits) =>
      h("option", { value: digits, selected: digits === 2 }, (10 ** -digits).toFixed(digits)),
    ),
  );
  const element = h(
    "div",
    {
      class: "origin",
      role: "dialog",
      "aria-label": "Where a number comes from",
      tabindex: -1,
      popover: "manual", // above all, wherever the view is
    },
    h("div", { class: "origin-way" }, back, close),
    body,
    h("p", {}, h("label", {}, "Nudge it by ε = ", by)),
    nudged,
  );
  const answered = newest(body, nudged),
    moved = newest(nudged);
  /** @type {number[]} the Values looked at, each computed from the next */
  let path = [];
  /** @type {any} */
  let value;

  /** Look at what a Value was computed from, or go back. @param {number} to  a node, or −1 */
  function go(to) {
    path = to < 0 ? path.slice(0, -1) : [...path, to];
    return look();
  }

  async function look() {
    const [node] = path.slice(-1);
    back.hidden = path.length < 2;
    const found = await answered(whole(ask, node));
    if (!found) return;
    [value] = found;
    put(body, ...apart(found, { lines, short, go }));
    await nudge();
  }

  async function nudge() {
    const digits = Number(by.value);
    const found = await moved(ask("nudge", { node: value.node, digits }));
    if (found) put(nudged, ...says(value.grad, found));
  }

  return {
    element,
    pinned: false,
    /** @param {number} node @param {DOMRect} place  of the number */
    show(node, { left, top }) {
      element.showPopover();
      element.dataset.x = left > innerWidth / 2 ? "left" : "right";
      element.dataset.y = top > innerHeight / 2 ? "top" : "bottom";
      path = [];
      return go(node);
    },
  };
}

/** A Value with all that it was computed from; where that is one Value, with that one's, too.
 * @param {Ask} ask @param {number} node @returns {Promise<any[]>} */
async function whole(ask, node) {
  const found = await ask("around", { node });
  while (found.more_children > 0) {
    const next = await ask("around", { node, start: found.children.length });
    found.children.push(...next.children);
    found.more_children = next.more_children;
  }
  const [only, ...others] = found.children;
  if (!only || others.length || only.op !== "dot") return [found];
  return [found, ...(await whole(ask, only.node))];
}

/** @param {any[]} values  the Value, and where it was computed from one, that one
 * @param {{lines: string[], short: (name: string) => string, go: (node: number) => void}} how */
function apart(values, { lines, short, go }) {
  const [value] = values;
  return [
    h(
      "p",
      { class: "origin-name" },
      h("b", {}, short(value.name)),
      ` ${OPS[value.op] ?? value.op}`,
    ),
    h(
      "p",
      { class: "origin-number" },
      h("b", { "data-x": value.data }, number(value.data, 6)),
      " · gradient ",
      h("b", { "data-grad": value.grad }, number(value.grad, 6)),
      value.silent ? " (nothing of it reaches the loss)" : "",
    ),
    h("pre", { class: "made-by" }, madeBy(value, lines)),
    ...values.flatMap((v) => (v.op === "dot" ? product(v, short, go) : formula(v, short, go))),
  ];
}

/** A Value's name, to be looked at.
 * @param {any} value @param {(name: string) => string} short @param {(node: number) => void} go */
function named(value, short, go) {
  const onclick = () => go(value.node);
  return h(
    "button",
    { type: "button", class: "operand", onclick },
    h("code", {}, short(value.name)),
    ` ${number(value.data, 4)}`,
  );
}

/** What a Value is of those that it was computed from, but for a dot product.
 * @param {any} value @param {(name: string) => string} short @param {(node: number) => void} go */
function formula(value, short, go) {
  const { op, children, data } = value;
  const names = children.map((/** @type {any} */ c) => named(c, short, go));
  const [one] = children;
  /** @param {string} sign */
  const joined = (sign) =>
    names.flatMap((/** @type {HTMLElement} */ n, /** @type {number} */ i) =>
      i ? [` ${sign} `, n] : [n],
    );
  /** @type {Record<string, () => any[]>} */
  const forms = {
    "+": () => (names.length > 1 ? joined("+") : [...names, ` + ${number(data - one.data, 4)}`]),
    "*": () => (names.length > 1 ? joined("×") : [...names, ` × ${number(one.local_grad, 4)}`]),
    "**": () => [...names, " to the power ", number((one.local_grad * one.data) / data, 1)],
    add: () => joined("+"),
    exp: () => ["exp ", ...names],
    log: () => ["ln ", ...names],
    relu: () => ["the larger of 0 and ", ...names],
    parameter: () => ["one of the numbers that learn: nothing was computed to get it"],
  };
  const text = names.length || op === "parameter" ? forms[op]?.() : null;
  const none = ["a plain number: what a ReLU makes of a number below zero, or a constant"];
  return [h("p", { class: "formula" }, "= ", ...(text ?? (names.length ? joined(",") : none)))];
}

/** The row of W that a dot product used, what it was multiplied with, and each product.
 * @param {any} value @param {(name: string) => string} short @param {(node: number) => void} go */
function product({ name, data, children }, short, go) {
  const a = children.filter((/** @type {any} */ _, /** @type {number} */ i) => i % 2 === 0);
  const b = children.filter((/** @type {any} */ _, /** @type {number} */ i) => i % 2 === 1);
  const products = a.map((/** @type {any} */ c, /** @type {number} */ i) => c.data * b[i].data);
  /** @param {string} label @param {number[]} numbers @param {string} note */
  const row = (label, numbers, note) =>
    h(
      "div",
      { class: "origin-row" },
      h("code", {}, label),
      strip(numbers, { label, scale: SCALE, class: numbers.length > 20 ? "narrow" : "" }),
      note && h("small", {}, note),
    );
  const terms = a.map((/** @type {any} */ c, /** @type {number} */ i) =>
    h(
      "li",
      {},
      named(c, short, go),
      " × ",
      named(b[i], short, go),
      ` = `,
      h("b", { class: "term-of", "data-x": products[i] }, number(products[i], 4)),
    ),
  );
  /** @param {any[]} side */
  const numbers = (side) => side.map((c) => c.data);
  const names = [vector(a, short), vector(b, short)];
  const score = names[0] === "q" && names[1].startsWith("keys");
  return [
    row(names[0], numbers(a), a[0].op === "parameter" ? "the row of W that it used" : ""),
    row(names[1], numbers(b), ""),
    row("products", products, `sum: ${score ? "q·k = " : ""}${number(data, 4)}`),
    h(
      "details",
      {},
      h("summary", {}, `${short(name)}: ${a.length} products, written out`),
      h("ol", { class: "terms" }, ...terms),
    ),
  ];
}

/** What Values that stand in a row are called together: attn_wq[3], of attn_wq[3][0] and so on.
 * @param {any[]} values @param {(name: string) => string} short */
function vector(values, short) {
  const [first, second = first] = values.map((v) => short(v.name));
  const name = first.replace(/\[\d+\]$/, "");
  return name !== first && second.startsWith(name) ? name : `${first} …`;
}

/** What a nudge came to, beside what the gradient said.
 * @param {number} grad @param {{epsilon: number, loss: number, nudged: number}} run */
function says(grad, { epsilon, loss, nudged }) {
  const signed = (/** @type {number} */ x) => (x > 0 ? `+${number(x, 6)}` : number(x, 6));
  return [
    "grad × ε says that the loss moves by ",
    h("b", { "data-predicted": grad * epsilon }, signed(grad * epsilon)),
    ". gpt.py, run again with it nudged: ",
    h("b", { "data-moved": nudged - loss }, signed(nudged - loss)),
    `, from ${number(loss, 6)} to ${number(nudged, 6)} nats.`,
  ];
}
