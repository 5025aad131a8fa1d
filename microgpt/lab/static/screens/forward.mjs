// Forward: gpt.py reads a name, line by line; beside its source, what each line has computed.
import {
  code,
  h,
  letter,
  marked,
  newest,
  number,
  put,
  region,
  remember,
  strip,
  valued,
} from "../draw.mjs";
import { origins } from "../origin.mjs";
import { parts } from "../parts.mjs";
import { Trace } from "../trace.mjs";
import { transport } from "../transport.mjs";
import { word } from "../word.mjs";

const HINT = "Point at a number, or tap it, to take it apart. Keys: Enter here, then the arrows.";

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const described = model.get("described");
  const { source, vocabulary } = described;
  /** @type {Trace} */
  let trace;
  /** @type {number[]} the events that stepping stops at */
  let stops = [];
  let step = Number(params.step ?? 0),
    pos = 0;

  const how = { label: "The name to read", caption: "The model reads", heard: read };
  const name = word({ model, params, fallback: described.text, ...how });
  const fine = h("input", { type: "checkbox", checked: params.lines === "all", onchange: refine });
  const walk = transport(
    {
      el,
      label: "Line",
      unit: "line",
      part: "letter",
      first: 0,
      speed: 2,
      go,
      jump: (_, by) => begins(pos + by),
    },
    h("label", { class: "check" }, fine, "into every function"),
  );
  const letters = h("div", { class: "positions", role: "group", "aria-label": "Positions" });
  const listing = code(source);
  const lines = region("listing", "gpt.py", listing);
  const now = h("div", { class: "line-now", role: "status" });
  const drawing = drawingOf(described);
  const answered = newest(letters, now, drawing.element);
  el.append(
    h("div", { class: "bar-top" }, h("h1", {}, "Forward"), name.element, letters),
    walk.element,
    h("div", { class: "pair" }, h("div", { class: "left" }, lines, now), drawing.element),
  );

  const origin = origins({ el, model, text: () => name.text });

  /** @param {string} text */
  async function read(text) {
    walk.stop();
    origin.hide();
    const found = await answered(model.ask("trace", { text }));
    if (!found) return;
    trace = new Trace(found);
    lay();
    put(letters, ...tabs(trace, vocabulary, (pos) => walk.reach(begins(pos))));
    walk.reach(opening(trace, stops, step, params, source));
  }

  /** The step at which a position begins. @param {number} pos */
  const begins = (pos) => beginning(trace, stops, pos);

  function lay() {
    stops = trace.stops(fine.checked);
    walk.last = stops.length - 1;
  }

  /** Step into every function, or no longer, from the same event on. */
  function refine() {
    const event = stops[step];
    lay();
    walk.reach(stops.findIndex((s) => s >= event));
  }

  /** @param {number} wanted */
  function go(wanted) {
    if (!trace) return;
    step = wanted;
    const event = stops[step];
    const { line } = trace.events[event];
    walk.slider.setAttribute("aria-valuetext", `line ${line}`);
    marked(listing, line, trace.calling(event));
    pos = trace.position(event);
    drawing.show(trace, pos, event);
    mark(letters, pos, event);
    put(now, ...says(trace, event));
    el.dispatchEvent(new CustomEvent("here", { bubbles: true, detail: drawing.part }));
    remember(el, { text: name.text, step, ...(fine.checked ? { lines: "all" } : {}) });
  }

  read(name.text);
  return walk.stop;
}

/** @param {Trace} trace @param {number[]} stops @param {number} pos */
function beginning(trace, stops, pos) {
  const { call } = trace.positions[Math.max(0, Math.min(trace.positions.length - 1, pos))];
  return stops.findIndex((s) => s >= trace.calls[call].begin);
}

/** The step to open with: as it is, or, once, the first at a position whose line of the source
 * holds a piece of code, where the address says so: pos=3&line=attention(q.
 * @param {Trace} trace @param {number[]} stops @param {number} step
 * @param {Record<string, string>} params @param {string} source */
function opening(trace, stops, step, params, source) {
  const { pos, line: piece = "" } = params;
  delete params.pos; // another word begins where this one was left
  if (pos === undefined) return step;
  const first = beginning(trace, stops, Number(pos) || 0);
  const lines = source.split("\n");
  const holds = (/** @type {number} */ s) => lines[trace.events[s].line - 1].includes(piece);
  return Math.max(
    first,
    stops.findIndex((s, i) => i >= first && holds(s)),
  );
}

/** The model at one position of a trace, redrawn where that is another.
 * @param {{config: any, vocabulary: string}} described */
function drawingOf(described) {
  const element = region("drawing", "The model, drawn");
  /** @type {{trace?: Trace, pos?: number}} */
  let drawn = {};

  /** @param {Trace} trace @param {number} pos @param {number} event */
  function show(trace, pos, event) {
    if (trace !== drawn.trace || pos !== drawn.pos)
      put(element, h("p", { class: "key" }, HINT), ...parts(trace, pos, described));
    drawn = { trace, pos };
    light(element, event);
    keep(element);
  }

  return {
    element,
    show,
    /** Which part of the model is being computed, as the map names it. */
    get part() {
      const lit = [...element.querySelectorAll("[data-part] .now")].at(-1);
      const group = /** @type {HTMLElement | undefined} */ (lit?.closest("[data-part]"));
      return group?.dataset.part ?? "embedding";
    },
  };
}

/** Show what is still to come, what is being computed, and what is there.
 * @param {HTMLElement} box @param {number} event */
function light(box, event) {
  for (const part of box.querySelectorAll("[data-at]")) {
    const { at, from = at } = /** @type {HTMLElement} */ (part).dataset;
    part.classList.toggle("todo", Number(at) > event);
    part.classList.toggle("now", Number(from) <= event && event <= Number(at));
  }
}

/** Show which position it is, and what the others have cost by now.
 * @param {HTMLElement} letters @param {number} pos @param {number} event */
function mark(letters, pos, event) {
  light(letters, event);
  for (const [i, tab] of [...letters.children].entries())
    tab.toggleAttribute("aria-current", i === pos);
}

/** A button for each position: its letter, the next, and what that cost.
 * @param {Trace} trace @param {string} vocabulary @param {(pos: number) => void} chosen */
function tabs(trace, vocabulary, chosen) {
  return trace.positions.map((p, pos) => {
    const cost = trace.nodes(p.surprise)[0],
      next = letter(trace.tokens[pos + 1], vocabulary);
    return h(
      "button",
      {
        type: "button",
        class: "position",
        "data-pos": pos,
        title: `Position ${pos}: the surprise at ${next} is ${number(cost, 3)} nats`,
        onclick: () => chosen(pos),
      },
      h("b", {}, letter(p.token, vocabulary, "BOS")),
      h("small", {}, h("span", { class: "arrow" }, "→ "), next),
      h("span", {
        class: "cost",
        "data-at": trace.naming(p.surprise?.[0]?.[0], trace.calls[p.call].end),
        "data-x": cost,
        "--p": Math.min(1, cost / 5),
      }),
    );
  });
}

/** The numbers of a line: those that it named, and those that it handed on to a function.
 * @param {Trace} trace @param {number} event */
function says(trace, event) {
  const { call, line, set } = trace.events[event];
  return [
    h("h2", {}, `Line ${line} in ${trace.calls[call].fn}()`),
    ...trace.unnamed(event).map(([fn, seen]) => held(trace, `into ${fn}()`, seen)),
    ...Object.entries(set).map(([key, seen]) => held(trace, key, seen)),
  ];
}

/** What a name holds, as a strip and as a table.
 * @param {Trace} trace @param {string} key @param {any} seen */
function held(trace, key, seen) {
  const numbers = trace.numbers(seen),
    nodes = trace.ids(seen);
  const [first] = numbers;
  const otherwise = typeof seen === "string" ? seen : "empty";
  if (numbers.length < 2)
    return h(
      "div",
      { class: "held" },
      h("code", {}, key),
      h(
        "span",
        { "data-x": first, ...(nodes.length > 0 && valued(nodes[0], key)) },
        first === undefined ? otherwise : number(first, Number.isInteger(first) ? 0 : 4),
      ),
    );
  const items = numbers.map((x) => h("li", { "data-x": x }, number(x, 4)));
  return h(
    "div",
    { class: "held" },
    h("code", {}, key),
    strip(numbers, { label: key, class: "thin", nodes }),
    h(
      "details",
      {},
      h("summary", {}, `${numbers.length} numbers`),
      h("ol", { class: "table", start: 0 }, ...items),
    ),
  );
}

/** Scroll a box, and nothing else, so that what is being computed in it can be seen.
 * @param {HTMLElement} box */
function keep(box) {
  const rows = [...box.querySelectorAll(".row.now")];
  const done = [...box.querySelectorAll("[data-at]:not(.todo)")]; // where nothing is computed now
  const first = rows[0] ?? box.querySelector(".now") ?? done.at(-1);
  if (!first) return;
  const a = box.getBoundingClientRect(),
    { top } = first.getBoundingClientRect(),
    { bottom } = (rows.at(-1) ?? first).getBoundingClientRect();
  if (top < a.top + 40) box.scrollTop += top - a.top - 40;
  else if (bottom > a.bottom - 40)
    box.scrollTop += Math.min(bottom - a.bottom + 40, top - a.top - 40);
}

export default { render };
