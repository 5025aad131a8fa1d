// Edit: change a line of gpt.py, run both, and see the first number that moves.
import { code, h, number, once, put, svg } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

/** Changes worth a look: what to call them, what to replace, with what, and what to watch for.
 * @type {[string, string, string, string][]} */
const IDEAS = [
  [
    "no scaling",
    " / head_dim**0.5 for k in keys",
    " for k in keys",
    "Attention without its square root: dot products grow with width.",
  ],
  [
    "no position",
    "[t + p for t, p in zip(",
    "[t for t, p in zip(",
    "Without wpe a letter knows which came before it, not in what order.",
  ],
  [
    "no residual",
    "x = [a + b for a, b in zip(x, h)]                         # added to x, never in its place",
    "x = h",
    "Attention replaces the stream instead of adding to it.",
  ],
  [
    "no attention",
    "h = attention(q, keys[i], values[i], config.n_head)",
    "h = values[i][-1]",
    "Each letter hears only itself.",
  ],
  [
    "squared ReLU",
    "a.relu() for a in h",
    "a.relu() ** 2 for a in h",
    "The MLP of some newer models.",
  ],
  [
    "plain descent",
    "p.data -= lr * m[i] * m_scale / (math.sqrt(v[i] * v_scale) + eps)",
    "p.data -= 10 * lr * p.grad",
    "Gradient descent, without Adam's memory.",
  ],
];
const WELCOME =
  "Change a line on the left, or try one of the changes above. You will see the first line and the first " +
  "number that differ, then how both versions learn from scratch.";
const WIDE = 560,
  TALL = 250,
  LEFT = 34;

/** @param {import("../app.mjs").Context} context */
function render({ model, el }) {
  const { source } = model.get("described");
  const original = source.trimEnd().split("\n");
  /** @type {AbortController | null} */
  let connection = null;
  /** @type {[number, number][]} */
  let pairs = [];
  let ready = false;

  const area = h("textarea", {
    class: "area",
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "none",
    wrap: "off",
    "aria-label": "gpt.py, yours to change",
    oninput: typed,
    onkeydown: indent,
  });
  const under = h("div", { class: "under-code", "aria-hidden": "true" });
  const editor = h("div", { class: "listing editor" }, under, area);
  const text = h("input", {
    type: "text",
    value: "emma",
    maxlength: 15,
    "aria-label": "The name that both read",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
  });
  const start = h(
    "button",
    { type: "button", class: "strong", title: "Ctrl+Enter", onclick: begin },
    "Run both",
  );
  const undo = h(
    "button",
    {
      type: "button",
      onclick: () => {
        area.value = source.trimEnd();
        typed();
        clear();
      },
    },
    "Undo all",
  );
  const hint = h("p", { class: "told" });
  const verdict = h("div", { class: "verdict-box", role: "status" });
  const chart = svg("svg", { class: "losses", viewBox: `0 0 ${WIDE} ${TALL}`, role: "img" });
  const names = h("div", { class: "two" });
  const paint = once(draw);

  el.append(
    h(
      "div",
      { class: "bar-top" },
      h("h1", {}, "Edit"),
      h(
        "p",
        { class: "lead" },
        "Change a line. Both versions read the same name; then both learn.",
      ),
    ),
    h(
      "div",
      { class: "transport" },
      start,
      undo,
      h("label", { class: "read" }, h("span", {}, "on"), text),
      h(
        "span",
        { class: "ideas", role: "group", "aria-label": "Changes worth a look" },
        "try ",
        ...IDEAS.map(([title, from, to, why]) =>
          h(
            "button",
            {
              type: "button",
              onclick: () => {
                area.value = source.trimEnd().replace(from, to);
                typed();
                hint.textContent = why;
                const line = area.value.slice(0, source.indexOf(from)).split("\n").length;
                under.querySelector(`[data-line="${line}"]`)?.scrollIntoView({ block: "nearest" });
                editor.scrollTop = Math.max(
                  0,
                  (under.querySelector(`[data-line="${line}"]`)?.offsetTop ?? 0) -
                    editor.clientHeight * 0.4,
                );
                begin();
              },
            },
            title,
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "pair" },
      editor,
      h(
        "div",
        { class: "results", tabindex: 0, role: "region", "aria-label": "What changed" },
        hint,
        verdict,
        chart,
        names,
      ),
    ),
  );

  function typed() {
    const lines = area.value.split("\n");
    area.rows = lines.length + 1;
    area.style.width = `calc(${Math.max(...lines.map((/** @type {string} */ l) => l.length)) + 2}ch + 4rem)`;
    const listed = code(area.value);
    let top = 0,
      end = 0;
    while (top < lines.length && lines[top] === original[top]) top++;
    while (end < lines.length - top && lines.at(-1 - end) === original.at(-1 - end)) end++;
    for (let i = top; i < lines.length - end; i++)
      if (lines[i] !== original[i]) listed.children[i]?.classList.add("edited");
    put(under, listed);
    undo.disabled = area.value === source.trimEnd();
  }

  /** A new line begins where the last one did. @param {KeyboardEvent} event */
  function indent(event) {
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return begin();
    const before = area.value.slice(0, area.selectionStart).split("\n").at(-1) ?? "";
    const deeper = before.trimEnd().endsWith(":") ? "    " : "";
    area.setRangeText(
      `\n${/^ */.exec(before)?.[0] ?? ""}${deeper}`,
      area.selectionStart,
      area.selectionEnd,
      "end",
    );
    typed();
  }

  function clear() {
    connection?.abort();
    connection = null;
    pairs = [];
    ready = false;
    hint.textContent = WELCOME;
    put(verdict);
    put(names);
    start.textContent = "Run both";
    draw();
  }

  async function begin() {
    if (connection) {
      clear();
      return;
    }
    const said = hint.textContent === WELCOME ? "" : hint.textContent;
    clear();
    hint.textContent = said;
    connection = new AbortController();
    const mine = connection;
    start.textContent = "Stop";
    put(verdict, h("p", { class: "told" }, "Both read the name, line by line …"));
    try {
      await model.run(
        "edit",
        { source: area.value, text: text.value.toLowerCase().trim() },
        (event) => {
          if (mine === connection) heard(event);
        },
        mine.signal,
      );
      if (mine === connection && !ready)
        put(verdict, h("p", { class: "wrong" }, "The run ended before its time."));
    } finally {
      if (mine === connection) {
        connection = null;
        start.textContent = "Run both";
      }
    }
  }

  /** @param {any} event */
  function heard(event) {
    if (event.error) {
      ready = true;
      put(verdict, h("p", { class: "wrong" }, event.error));
    }
    if (event.line) {
      ready = Boolean(event.failed);
      put(verdict, ...told(event));
    }
    if (event.pair) pairs.push(event.pair);
    if (event.names) {
      ready = true;
      put(
        names,
        ...["gpt.py", "yours"].map((who, i) =>
          h(
            "div",
            { class: i ? "yours" : "" },
            h("h2", {}, `${who} says`),
            h("p", {}, event.names[i].map((/** @type {string} */ n) => n || "–").join("  ")),
          ),
        ),
      );
    }
    paint();
  }

  /** @param {any} event */
  function told({ line, number: moved, same, failed, losses }) {
    if (failed)
      return [
        h(
          "p",
          { class: "wrong" },
          `${failed.message}${failed.line ? `, in line ${failed.line}` : ""}`,
        ),
      ];
    if (same)
      return [h("p", { class: "told" }, "The two agree, line by line and number by number.")];
    const place = (/** @type {any} */ p, /** @type {string} */ sign) =>
      p &&
      h(
        "pre",
        { class: sign === "+" ? "plus" : "minus" },
        h("code", {}, `${sign} ${String(p.line).padStart(3)}  ${p.code}`),
      );
    const at = moved && (moved.at_b ?? moved.at_a);
    return [
      (line[0] || line[1]) && h("h2", {}, "The first line that differs"),
      place(line[0], "−"),
      place(line[1], "+"),
      h("h2", {}, moved ? "The first number that differs" : "No number differs"),
      moved &&
        h(
          "p",
          { class: "moved" },
          h("code", {}, moved.name),
          " was ",
          h("b", { "data-a": moved.a }, moved.a === null ? "not there" : number(moved.a, 5)),
          ", is ",
          h(
            "b",
            { class: "yours", "data-b": moved.b },
            moved.b === null ? "not there" : number(moved.b, 5),
          ),
          at && h("small", {}, ` line ${at.line}, in ${at.fn}()`),
        ),
      losses[1] !== null &&
        h(
          "p",
          {},
          "The loss of the name: ",
          h("b", { "data-a": losses[0] }, number(losses[0], 4)),
          " → ",
          h("b", { class: "yours", "data-b": losses[1] }, number(losses[1], 4)),
        ),
    ];
  }

  function draw() {
    const total = 100;
    const means = [0, 1].map((which) => {
      let mean = 0;
      return pairs.map((pair, i) => {
        const keep = Math.min(i / (i + 1), 0.93);
        mean = keep * mean + (1 - keep) * pair[which];
        return mean;
      });
    });
    const top = Math.max(3.5, Math.min(6, ...[Math.max(3.5, ...means.flat())])),
      low = Math.min(2.4, ...means.flat());
    const x = (/** @type {number} */ i) => LEFT + ((WIDE - LEFT - 10) * i) / total,
      y = (/** @type {number} */ l) => 10 + ((TALL - 40) * (top - Math.min(top, l))) / (top - low);
    const ticks = [];
    for (let l = Math.ceil(low * 2) / 2; l <= top; l += 0.5) ticks.push(l);
    put(
      chart,
      ...ticks.flatMap((l) => [
        svg("path", { class: "tick", d: `M${LEFT} ${y(l)}H${WIDE - 10}` }),
        svg("text", { x: LEFT - 6, y: y(l) + 4, class: "end" }, l.toFixed(1)),
      ]),
      ...[0, 50, 100].map((s) =>
        svg(
          "text",
          { x: x(s), y: TALL - 8, class: s === 100 ? "end" : s ? "middle" : "" },
          s === 100 ? "100 steps" : s,
        ),
      ),
      ...means.map(
        (line, which) =>
          line.length > 0 &&
          svg("path", {
            class: which ? "line yours" : "line ours",
            d: `M${line.map((l, i) => `${x(i + 1).toFixed(1)} ${y(l).toFixed(1)}`).join("L")}`,
          }),
      ),
      ...means.map(
        (line, which) =>
          line.length > 0 &&
          svg(
            "text",
            {
              x: Math.min(x(line.length) + 6, WIDE - 12),
              y:
                y(/** @type {number} */ (line.at(-1))) +
                ((line.at(-1) ?? 0) > (means[1 - which].at(-1) ?? 0) ? -14 : 22),
              class: `${line.length > 80 ? "end" : ""} ${which ? "yours-text" : "known-text"}`,
            },
            which ? "yours" : "gpt.py",
          ),
      ),
    );
    chart.classList.toggle("empty", !pairs.length);
    chart.setAttribute(
      "aria-label",
      pairs.length
        ? `Loss after ${pairs.length} steps: gpt.py ${number(means[0].at(-1) ?? 0)}, yours ${number(means[1].at(-1) ?? 0)}`
        : "Losses of both versions, empty as yet",
    );
  }

  area.value = source.trimEnd();
  typed();
  clear();
  editor.scrollTop = (under.querySelector('[data-line="126"]')?.offsetTop ?? 0) - 250;
  return () => {
    connection?.abort();
    connection = null;
  };
}

export default { render };
