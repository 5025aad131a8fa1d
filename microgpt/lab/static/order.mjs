// Why backward() needs an order: three Values, their turns, and what a hasty order would get wrong.
import { h, number, put, svg } from "./draw.mjs";
import { explained } from "./terms.mjs";

/** @typedef {import("./app.mjs").Model} Model */

/** @type {Record<string, string>} */
const EXAMPLES = {
  twice: "b = a + a; c = b + b",
  "two ways": "b = a * a; c = b + a",
  silent: "b = a.relu(); c = b + a",
};

/** @param {Model} model @returns {HTMLElement} */
export function order(model) {
  /** @type {any} */
  let found;
  let at = 0;
  const said = h("p", { class: "notes", role: "status" });
  const picture = svg("svg", { viewBox: "0 0 340 150", class: "three", role: "img" });
  const lines = h("ol", { class: "three-lines" });
  /** @param {string} text @param {number} by */
  const button = (text, by) =>
    h("button", { type: "button", disabled: true, onclick: () => move(by) }, text);
  const back = button("Back", -1),
    on = button("Next turn", 1);
  const options = Object.entries(EXAMPLES).map(([value, text]) => h("option", { value }, text));
  const select = h("select", { onchange: () => choose(select.value) }, ...options);

  /** @param {string} example */
  async function choose(example) {
    found = await model.ask("order", { example });
    at = 0;
    put(lines, ...found.lines.map((/** @type {string} */ l) => h("li", {}, h("code", {}, l))));
    move(0);
  }

  /** @param {number} by */
  function move(by) {
    at = Math.max(0, Math.min(found.turns.length - 1, at + by));
    back.disabled = at === 0;
    on.disabled = at === found.turns.length - 1;
    const grads = gradients(found, at);
    put(picture, ...uses(found, at), ...balls(found, at, grads));
    said.textContent = says(found, at);
    picture.setAttribute(
      "aria-label",
      found.values
        .map((/** @type {any} */ v, /** @type {number} */ i) => `${v.name}: grad ${grads[i]}`)
        .join(", "),
    );
  }

  choose("twice");
  return h(
    "section",
    { class: "small-example" },
    h(
      "div",
      {},
      h("h2", {}, "Why in this order?"),
      h(
        "p",
        { class: "lead" },
        ...explained(
          "A {Value} may be used more than once. Its {gradient} is the sum of what comes back " +
            "from every use; only when all have come may it pass it on.",
        ),
      ),
      h("p", { class: "choose" }, h("label", {}, "Three Values: ", select), back, on),
    ),
    h("div", { class: "three-box" }, lines, picture, said),
  );
}

/** Every gradient after a turn. @param {any} found @param {number} at @returns {number[]} */
function gradients(found, at) {
  const grads = found.values.map(() => 0);
  for (const turn of found.turns.slice(0, at + 1))
    for (const flow of turn.flows) grads[flow.node] = flow.after;
  return grads;
}

const Y = 75;

/** Where a Value is drawn: the last on the left. @param {any} found @param {number} i */
function place(found, i) {
  const { length } = found.values;
  return 170 + (i - (length - 1) / 2) * 125;
}

/** An edge for each use of a Value, with its local gradient.
 * @param {any} found @param {number} at */
function uses(found, at) {
  const turns = found.turns.slice(0, at + 1);
  return found.children.flatMap((/** @type {number[]} */ kids, /** @type {number} */ i) => {
    const gone = turns.some((/** @type {any} */ t) => t.node?.node === i);
    return kids.flatMap((k, j) => {
      const twice = kids.filter((other) => other === k).length > 1;
      const bend = i - k > 1 ? -62 : twice ? [-26, 26][j] : 0;
      const [a, b] = [place(found, i), place(found, k)],
        middle = (a + b) / 2;
      return [
        svg("path", {
          d: `M${a} ${Y}Q${middle} ${Y + bend * 1.6} ${b} ${Y}`,
          class: gone ? "edge gone" : "edge",
          "stroke-width": 2,
        }),
        svg(
          "text",
          { x: middle, y: Y + bend * 0.8 + (bend > 0 ? 16 : -6), class: "local" },
          `× ${number(found.local_grads[i][j], 0)}`,
        ),
      ];
    });
  });
}

/** @param {any} found @param {number} at @param {number[]} grads */
function balls(found, at, grads) {
  const now = found.turns[at].node?.node;
  return found.values.flatMap((/** @type {any} */ v, /** @type {number} */ i) => {
    const x = place(found, i),
      state = i === now ? "ball now" : v.turn && v.turn <= at ? "ball gone" : "ball";
    return [
      svg("circle", { cx: x, cy: Y, r: 27, class: state }),
      svg("text", { x, y: Y + 6, class: "ball-name" }, v.name),
      svg(
        "text",
        { x, y: Y + 48, class: "local", "data-grad": grads[i] },
        `grad ${number(grads[i], 0)}`,
      ),
    ];
  });
}

/** @param {any} found @param {number} at */
function says(found, at) {
  if (at === 0)
    return "backward() begins where it was called: the gradient of c with respect to itself is 1.";
  const who = found.turns[at].node?.name;
  const waits = found.values
    .filter((/** @type {any} */ v) => v.turn > at)
    .map((/** @type {any} */ v) => v.name);
  return (
    `Step ${at}: ${who} passes on, once for each time it used a Value. ` +
    (waits.length
      ? `${waits.join(", ")} waited: had it gone before ${who}, it would have passed on a ` +
        "gradient that was not complete."
      : "Every Value went after all that was computed from it. That is the whole reason for " +
        "the order.")
  );
}
