// Backward: the loss asks every Value how much it is to blame, one Value at a time.
import { h, letter, number, put, remember, svg } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

const OPS = /** @type {Record<string, string>} */ ({
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
});

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

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { config, vocabulary, source, text = "emma" } = model.get("described");
  const code = source.split("\n");
  const state = {
    text: params.text ?? text,
    step: Number(params.step ?? 2),
    node: Number(params.node ?? -1),
  };
  /** @type {any} */
  let whole;
  /** @type {any} */
  let around;
  /** @type {any[]} the way from the name down to what is shown */
  let path = [];
  let timer = 0,
    asked = 0;

  const name = h("input", {
    type: "text",
    value: state.text,
    maxlength: config.block_size - 1,
    "aria-label": "The name to learn from",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    onchange: () => read(name.value.toLowerCase().trim()),
  });
  const sum = h("div", { class: "sum" });
  const slider = h("input", {
    type: "range",
    min: 1,
    value: 1,
    "aria-label": "Step of backward()",
    oninput: () => turn(Number(slider.value)),
  });
  const counter = h("output", { class: "counter" });
  const play = h("button", { type: "button", class: "strong", onclick: toggle }, "Play");
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
  const list = h("div", {
    class: "list",
    tabindex: 0,
    role: "region",
    "aria-label": "What is inside",
  });
  const told = h("p", { class: "told", role: "status" });
  const made = h("pre", { class: "made-by" });
  const diagram = h("div", {
    class: "diagram",
    role: "region",
    "aria-label": "One Value, what it was computed from, and what was computed from it",
  });
  const small = h("section", { class: "small-example" });

  el.append(
    h(
      "div",
      { class: "bar-top" },
      h("h1", {}, "Backward"),
      h("label", { class: "read" }, h("span", {}, "It learns from"), name),
      sum,
    ),
    h(
      "div",
      { class: "transport" },
      h(
        "button",
        { type: "button", "aria-label": "Back to the loss", title: "Home", onclick: () => turn(1) },
        "⇤",
      ),
      h(
        "button",
        {
          type: "button",
          "aria-label": "One Value back",
          title: "←",
          onclick: () => turn(state.step - 1),
        },
        "←",
      ),
      play,
      h(
        "button",
        {
          type: "button",
          "aria-label": "One Value on",
          title: "→",
          onclick: () => turn(state.step + 1),
        },
        "→",
      ),
      slider,
      counter,
    ),
    h(
      "div",
      { class: "pair deep" },
      h("div", { class: "inside" }, crumbs, list),
      h("div", { class: "outside" }, told, made, diagram),
    ),
    small,
  );

  /** Where there is one layer, its name says nothing. @param {string} who */
  const short = (who) => (config.n_layer === 1 ? who.replace("layer0.", "") : who);

  /** @param {string} look @param {object} place */
  const ask = (look, place = {}) => model.ask("backward", { text: state.text, look, ...place });

  /** @param {string} text */
  async function read(text) {
    stop();
    const before = state.text;
    state.text = text;
    try {
      whole = await ask("document");
    } catch (error) {
      state.text = before;
      throw error;
    }
    slider.max = whole.steps - 1;
    const { positions } = whole;
    put(
      sum,
      h(
        "button",
        { type: "button", class: "term", onclick: () => look(whole.loss.node) },
        h("b", { "data-x": whole.loss.data }, number(whole.loss.data)),
        h("small", {}, "loss"),
      ),
      h("span", {}, "= ("),
      ...positions.flatMap((/** @type {any} */ p, /** @type {number} */ i) => [
        i > 0 && h("span", {}, "+"),
        h(
          "button",
          {
            type: "button",
            class: "term",
            title: `The surprise at ${letter(p.target, vocabulary)}`,
            onclick: () => {
              enter(
                {
                  kind: "operations",
                  call: p.call,
                  title: `position ${p.pos}, ${letter(p.token, vocabulary, "BOS")}`,
                },
                0,
              );
              look(p.surprise.node);
            },
          },
          h("b", { "data-x": p.surprise.data }, number(p.surprise.data, 2)),
          h("small", {}, letter(p.target, vocabulary)),
        ),
      ]),
      h("span", {}, `) / ${positions.length}`),
    );
    path = [];
    const second = positions[Math.min(1, positions.length - 1)];
    await enter(
      {
        kind: "operations",
        call: second.call,
        title: `position ${second.pos}, ${letter(second.token, vocabulary, "BOS")}`,
      },
      0,
    );
    if (state.node >= 0) await look(state.node);
    else await turn(Math.min(state.step, whole.steps - 1));
  }

  /** Go one level down, or back up to a level. @param {any} place @param {number} depth */
  async function enter(place, depth) {
    path = [...path.slice(0, depth), place];
    put(
      crumbs,
      h("span", {}, state.text),
      ...path.flatMap((p, i) => [
        h("span", { "aria-hidden": "true" }, "›"),
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-current": i === path.length - 1 && "location",
            onclick: () => enter(p, i),
          },
          p.title,
        ),
      ]),
    );
    if (place.kind === "operations") {
      const { operations, fn } = await ask("operations", { call: place.call });
      const most = Math.max(...operations.map((/** @type {any} */ o) => o.size ?? 0), 1e-12);
      put(
        list,
        h(
          "p",
          { class: "key" },
          `What ${fn}() computed, last first: so the gradient meets it. Bars: its size.`,
        ),
        h(
          "ol",
          { class: "operations" },
          ...operations.toReversed().map((/** @type {any} */ o) =>
            h(
              "li",
              {},
              h(
                "button",
                {
                  type: "button",
                  onclick: () =>
                    enter(
                      { kind: "expression", event: o.event, title: o.names[0] ?? o.code },
                      depth + 1,
                    ),
                },
                h("code", {}, o.code),
                h("i", { "--p": (o.size ?? 0) / most }),
                h(
                  "small",
                  {},
                  o.size === null ? "" : number(o.size, 4),
                  h("span", {}, ` · ${o.values} Values`),
                ),
              ),
              o.calls.length > 0 &&
                h(
                  "span",
                  { class: "inner" },
                  ...o.calls.map((/** @type {number} */ call, /** @type {number} */ i) =>
                    h(
                      "button",
                      {
                        type: "button",
                        class: "quiet",
                        title: "Look into the function that it called",
                        onclick: () =>
                          enter({ kind: "operations", call, title: "inside" }, depth + 1),
                      },
                      o.calls.length > 1 ? `into ${i + 1}` : "into it",
                    ),
                  ),
                ),
            ),
          ),
        ),
      );
    } else {
      const { code, values, more } = await ask("expression", { event: place.event });
      const most = Math.max(...values.map((/** @type {any} */ v) => Math.abs(v.grad)), 1e-12);
      put(
        list,
        h("pre", {}, h("code", {}, code)),
        h(
          "div",
          { class: "values" },
          ...values.map((/** @type {any} */ v) =>
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
              h("small", {}, `grad ${number(v.grad, 4)}`),
            ),
          ),
        ),
        more > 0 && h("p", { class: "key" }, `and ${more} more`),
      );
    }
    list.scrollTop = 0;
  }

  /** The Value whose turn it is. @param {number} step */
  async function turn(step) {
    state.step = Math.max(1, Math.min(whole.steps - 1, step));
    state.node = -1;
    const mine = ++asked;
    const { node } = await ask("turn", { step: state.step });
    if (mine === asked) await show(node.node, mine);
  }

  /** Any Value, as things stand. @param {number} node */
  async function look(node) {
    state.node = node;
    await show(node, ++asked);
  }

  /** @param {number} node @param {number} mine */
  async function show(node, mine) {
    const found = await ask("around", { node, step: state.step });
    if (mine !== asked) return;
    around = found;
    slider.value = state.step;
    counter.textContent = `${state.step} of ${whole.steps - 1}`;
    const ready = around.turn !== null && around.turn <= state.step;
    put(told, ...says(ready));
    put(
      made,
      around.line
        ? h(
            "code",
            {},
            h("span", {}, `${around.line}  `),
            code[around.line - 1].trim().split("  #")[0],
          )
        : h("code", {}, h("span", {}, "among the parameters")),
    );
    const fan = Math.max(
      ...around.children.map((/** @type {any} */ c) => Math.abs(c.flow ?? 0)),
      1e-12,
    );
    const same = new Map();
    for (const c of around.children) same.set(c.node, (same.get(c.node) ?? 0) + 1);
    const parents = h(
      "div",
      { class: "parents" },
      h("h2", {}, "computed from it"),
      ...around.parents.map((/** @type {any} */ p) =>
        card(p, "parent", p.turn !== null && p.turn <= state.step),
      ),
      around.more_parents > 0 && h("p", { class: "key" }, `and ${around.more_parents} more`),
      !around.parents.length &&
        h(
          "p",
          { class: "key" },
          around.grad === 0 ? "nothing that the loss depends on" : "nothing: it is the loss",
        ),
    );
    const middle = h(
      "div",
      { class: ready ? "middle ready" : "middle" },
      h("b", {}, short(around.name)),
      h("small", {}, OPS[around.op] ?? around.op),
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
    const children = h(
      "div",
      { class: "children" },
      h("h2", {}, "computed of these"),
      around.children.length > 0 &&
        h(
          "p",
          { class: "columns", "aria-hidden": "true" },
          h("span", {}, "Value"),
          h("span", {}, "data"),
          h("span", {}, "local grad"),
          h("span", {}, "flows in"),
          h("span", {}, "grad so far"),
        ),
      ...around.children.map((/** @type {any} */ c) =>
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
              "--v": Math.abs(c.flow ?? 0) / fan,
            },
            c.flow === null ? "–" : number(c.flow, 4),
          ),
          h("span", { "data-grad": c.grad }, number(c.grad, 4)),
        ),
      ),
      around.more_children > 0 && h("p", { class: "key" }, `and ${around.more_children} more`),
      !around.children.length &&
        h(
          "p",
          { class: "key" },
          around.op === "parameter"
            ? "of nothing: it is one of the numbers that learn"
            : around.op === "relu"
              ? "of nothing: below zero a ReLU is a constant, and no gradient passes"
              : "of nothing",
        ),
    );
    put(diagram, parents, middle, children);
    edges(parents, middle, children, fan);
    remember(el, {
      text: state.text,
      step: state.step,
      ...(state.node >= 0 ? { node: state.node } : {}),
    });
  }

  /** @param {boolean} ready */
  function says(ready) {
    const { turn: when, op } = around,
      who = short(around.name);
    if (when === state.step) {
      return [
        h("b", {}, who),
        around.children.length
          ? ` takes its turn: all that was computed from it has spoken, so its gradient ${number(around.grad, 4)} is complete. It passes it on, times each local gradient.`
          : " takes its turn.",
      ];
    }
    if (when === null)
      return [
        h("b", {}, who),
        op === "parameter"
          ? ` is learned: its gradient so far is ${number(around.grad, 4)}.`
          : " passes nothing on.",
      ];
    return [
      h("b", {}, who),
      ready
        ? ` had its turn at step ${when}. `
        : ` has its turn at step ${when}; until then its gradient may grow. `,
      h("button", { type: "button", onclick: () => turn(when) }, "Go there"),
    ];
  }

  /** @param {any} v @param {string} kind @param {boolean} gone */
  function card(v, kind, gone) {
    return h(
      "button",
      {
        type: "button",
        class: `card ${kind}${gone ? " gone" : ""}`,
        "data-node": v.node,
        onclick: () => look(v.node),
      },
      h("b", {}, short(v.name)),
      h("small", {}, v.op),
      h("span", {}, gone || v.grad ? `grad ${number(v.grad, 3)}` : "waits"),
    );
  }

  /** @param {HTMLElement} parents @param {HTMLElement} middle @param {HTMLElement} children @param {number} fan */
  function edges(parents, middle, children, fan) {
    const box = diagram.getBoundingClientRect(),
      m = middle.getBoundingClientRect();
    const y = m.top - box.top + m.height / 2;
    /** @param {number} ax @param {number} ay @param {number} bx @param {number} by */
    const curve = (ax, ay, bx, by) =>
      `M${ax} ${ay}C${(ax + bx) / 2} ${ay} ${(ax + bx) / 2} ${by} ${bx} ${by}`;
    const lines = [];
    for (const p of parents.querySelectorAll(".card")) {
      const r = p.getBoundingClientRect();
      lines.push(
        svg("path", {
          d: curve(r.right - box.left, r.top - box.top + r.height / 2, m.left - box.left, y),
          class: p.classList.contains("gone") ? "edge gone" : "edge",
          "stroke-width": 2,
        }),
      );
    }
    for (const [i, c] of [...children.querySelectorAll(".child")].entries()) {
      const r = c.getBoundingClientRect(),
        { flow } = around.children[i];
      lines.push(
        svg("path", {
          d: curve(m.right - box.left, y, r.left - box.left, r.top - box.top + r.height / 2),
          class: flow === null ? "edge" : flow < 0 ? "edge gone minus" : "edge gone",
          "stroke-width": flow === null ? 1 : 0.7 + (4 * Math.abs(flow)) / fan,
        }),
      );
    }
    diagram.prepend(
      svg(
        "svg",
        { class: "edges", width: box.width, height: box.height, "aria-hidden": "true" },
        ...lines,
      ),
    );
  }

  function toggle() {
    if (timer) return stop();
    timer = setInterval(() => {
      turn(state.step + 1);
      if (state.step >= whole.steps - 1) stop();
    }, 900);
    play.textContent = "Pause";
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  /** Why this order: three Values, their turns, and what a hasty order would get wrong. */
  async function why() {
    let example = "twice",
      at = 0;
    const said = h("p", { class: "told", role: "status" });
    const picture = svg("svg", { viewBox: "0 0 520 150", class: "three", role: "img" });
    const lines = h("ol", { class: "three-lines" });
    const back = h("button", { type: "button", disabled: true, onclick: () => move(-1) }, "Back"),
      on = h("button", { type: "button", disabled: true, onclick: () => move(1) }, "Next turn");
    /** @type {any} */
    let order;
    /** @param {string} which */
    async function choose(which) {
      example = which;
      order = await model.ask("order", { example });
      at = 0;
      move(0);
    }
    /** @param {number} by */
    function move(by) {
      at = Math.max(0, Math.min(order.turns.length - 1, at + by));
      back.disabled = at === 0;
      on.disabled = at === order.turns.length - 1;
      put(lines, ...order.lines.map((/** @type {string} */ l) => h("li", {}, h("code", {}, l))));
      /** @type {number[]} */
      const grads = order.values.map(() => 0);
      for (const t of order.turns.slice(0, at + 1))
        for (const f of t.flows) grads[f.node] = f.after;
      const now = order.turns[at].node?.node;
      const x = (/** @type {number} */ i) => 430 - i * 170 + (3 - order.values.length) * 85,
        y = 75;
      const place = (/** @type {number} */ i) => x(order.values.length - 1 - i);
      put(
        picture,
        ...order.children.flatMap((/** @type {number[]} */ kids, /** @type {number} */ i) =>
          kids.flatMap((k, j) => {
            const bend =
              i - k > 1 ? -62 : kids.filter((x2) => x2 === k).length > 1 ? (j ? 26 : -26) : 0;
            const gone = order.turns
              .slice(0, at + 1)
              .some((/** @type {any} */ t) => t.node?.node === i);
            return [
              svg("path", {
                d: `M${place(i)} ${y}Q${(place(i) + place(k)) / 2} ${y + bend * 1.6} ${place(k)} ${y}`,
                class: gone ? "edge gone" : "edge",
                "stroke-width": 2,
              }),
              svg(
                "text",
                {
                  x: (place(i) + place(k)) / 2,
                  y: y + bend * 0.8 + (bend > 0 ? 16 : -6),
                  class: "local",
                },
                `× ${number(order.local_grads[i][j], 0)}`,
              ),
            ];
          }),
        ),
        ...order.values.flatMap((/** @type {any} */ v, /** @type {number} */ i) => [
          svg("circle", {
            cx: place(i),
            cy: y,
            r: 27,
            class: i === now ? "ball now" : v.turn && v.turn <= at ? "ball gone" : "ball",
          }),
          svg("text", { x: place(i), y: y + 6, class: "ball-name" }, v.name),
          svg(
            "text",
            { x: place(i), y: y + 48, class: "local", "data-grad": grads[i] },
            `grad ${number(grads[i], 0)}`,
          ),
        ]),
      );
      const who = order.turns[at].node?.name;
      const waits = order.values
        .filter((/** @type {any} */ v) => v.turn > at)
        .map((/** @type {any} */ v) => v.name);
      said.textContent =
        at === 0
          ? "backward() begins where it was called: the gradient of c with respect to itself is 1."
          : `Step ${at}: ${who} passes on, once for each time it used a Value. ` +
            (waits.length
              ? `${waits.join(", ")} waited: had it gone before ${who}, it would have passed on a gradient that was not complete.`
              : "Every Value went after all that was computed from it. That is the whole reason for the order.");
      picture.setAttribute(
        "aria-label",
        order.values
          .map((/** @type {any} */ v, /** @type {number} */ i) => `${v.name}: grad ${grads[i]}`)
          .join(", "),
      );
    }
    small.append(
      h(
        "div",
        {},
        h("h2", {}, "Why in this order?"),
        h(
          "p",
          { class: "lead" },
          "A Value may be used more than once. Its gradient is the sum of what comes back from every use; only when all have come may it pass it on.",
        ),
        h(
          "p",
          { class: "choose" },
          h(
            "label",
            {},
            "Three Values: ",
            h(
              "select",
              { onchange: (/** @type {any} */ e) => choose(e.target.value) },
              h("option", { value: "twice" }, "b = a + a; c = b + b"),
              h("option", { value: "two ways" }, "b = a * a; c = b + a"),
              h("option", { value: "silent" }, "b = a.relu(); c = b + a"),
            ),
          ),
          back,
          on,
        ),
      ),
      h("div", { class: "three-box" }, lines, picture, said),
    );
    await choose(example);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (
      !whole ||
      event.altKey ||
      event.ctrlKey ||
      event.metaKey ||
      target.matches("input, select, textarea")
    )
      return;
    if (event.key === "ArrowRight") turn(state.step + (event.shiftKey ? 20 : 1));
    else if (event.key === "ArrowLeft") turn(state.step - (event.shiftKey ? 20 : 1));
    else if (event.key === "Home") turn(1);
    else if (event.key === " " && !target.matches("button")) toggle();
    else return;
    event.preventDefault();
  }
  const again = () => around && show(around.node, ++asked);

  el.addEventListener("keydown", key);
  addEventListener("resize", again);
  read(state.text);
  why();
  return () => {
    stop();
    removeEventListener("resize", again);
  };
}

export default { render };
