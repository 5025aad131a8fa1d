// Scale: from 4,192 parameters to 671 billion. The six components keep their places; what is the
// same, what is changed, and what is only bigger. Every number is Python's: microgpt/llm/ledger.py.
import { h, put, region, remember, svg } from "../draw.mjs";

/**
 * @typedef {{name: string, sentence: string, brick: string, lessons: number[]}} Change
 * @typedef {{name: string, value: number | null, text: string}} Size
 * @typedef {{component: string, same: string, changed: Change[], size: Size,
 *   bigger: {name: string, text: string}[]}} Component
 * @typedef {{name: string, title: string, source: string, parameters: number, times: string,
 *   overview: Record<string, string>, parts: Record<string, number>, costs: Size[],
 *   components: Component[]}} Entry
 * @typedef {{models: Entry[], bricks: Record<string, string>}} Ledger
 */

const LEAD =
  "The same six components, in the same places. Move to a larger model: see what changes in " +
  "kind, and what is only bigger.";
const FRAME = 400; // the side of the drawing, in its own units
const APART = 20; // of two names in it, so that both can be read

/** @type {Promise<Ledger> | null} */
let fetched = null;

/** @param {import("../app.mjs").Context} context */
function render({ el, params }) {
  let left = false;
  const place = h("div", { class: "scale-body", "aria-busy": "true" });
  const lead = h("p", { class: "lead" }, LEAD);
  el.append(h("div", { class: "bar-top" }, h("h1", {}, "Scale")), lead, place);
  fetched ??= fetch("scale.json").then((answer) => answer.json());
  fetched.then((ledger) => {
    if (left) return;
    place.removeAttribute("aria-busy");
    place.append(...screen(ledger, params, el));
  });
  return () => {
    left = true;
  };
}

/** @param {Ledger} ledger @param {Record<string, string>} params @param {HTMLElement} el */
function screen({ models, bricks }, params, el) {
  const sorted = [...models].sort((a, b) => a.parameters - b.parameters);
  const basis = models[0];
  const most = largest(models);
  let now = sorted.find((model) => model.name === params.model) ?? basis;
  let part = basis.components.find((c) => c.component === params.part)?.component ?? "architecture";
  const zoom = squares(sorted, basis);
  const slider = h("input", {
    type: "range",
    min: 0,
    max: sorted.length - 1,
    "aria-label": "Model, from the smallest to the largest",
    oninput: () => choose(sorted[Number(slider.value)]),
  });
  const title = h("p", { class: "scale-title", role: "status" });
  const table = h("table", { class: "overview" });
  const cards = h("div", {
    class: "components",
    role: "group",
    "aria-label": "The six components",
  });
  const details = h("section", { class: "differences", "aria-live": "polite" });
  const costs = h("table", { class: "costs" });

  /** @param {Entry} model */
  function choose(model) {
    now = model;
    draw();
    remember(el, { model: now.name, part });
  }

  /** @param {string} component */
  function open(component) {
    part = component;
    draw();
    remember(el, { model: now.name, part });
  }

  function draw() {
    slider.value = String(sorted.indexOf(now));
    slider.setAttribute("aria-valuetext", now.title);
    put(title, h("b", {}, now.title), ` ${now.overview.parameters} parameters`);
    zoom.show(now);
    put(table, ...overview(basis, now));
    const focused = document.activeElement?.closest(".component");
    put(cards, ...now.components.map((c) => card(c, part, most, () => open(c.component))));
    if (focused) /** @type {HTMLElement} */ (cards.querySelector("[aria-pressed=true]")).focus();
    put(details, ...differences(basis, now, part, bricks));
    put(costs, ...ledgerRows(basis, now));
  }
  draw();
  return [
    h("div", { class: "scale-dial" }, title, slider),
    h(
      "div",
      { class: "scale-pair" },
      zoom.element,
      region("sheet scale-after", "In seven rows", table),
    ),
    cards,
    details,
    h("h2", { class: "scale-after" }, "What it costs"),
    region("sheet scale-after", "What it costs", costs),
  ];
}

/** The largest number that each component of any model has. @param {Entry[]} models */
function largest(models) {
  return Object.fromEntries(
    models[0].components.map(({ component }, i) => [
      component,
      Math.max(...models.map((model) => model.components[i].size.value ?? 0)),
    ]),
  );
}

/** The models as squares of as many units as they have parameters, which share a corner; the one
 * that is shown fills the frame, the smaller ones lie in it.
 * @param {Entry[]} sorted @param {Entry} basis */
function squares(sorted, basis) {
  const all = sorted.map((model) => ({ model, side: Math.sqrt(model.parameters) })).reverse();
  const made = all.map(({ side }) =>
    svg("rect", { x: 0, y: -side, width: side, height: side, class: "model-square" }),
  );
  const group = svg("g", { class: "nested" }, ...made);
  const names = svg("g");
  const viewBox = `-1 -1 ${FRAME + 2} ${FRAME + 2}`;
  const drawing = svg("svg", { class: "zoom", viewBox, role: "img" }, group, names);
  const corner = h("p", { class: "key" });

  /** @param {Entry} shown */
  function show(shown) {
    const scale = FRAME / Math.sqrt(shown.parameters);
    group.style.transform = `translate(0, ${FRAME}px) scale(${scale})`;
    const first = all.findIndex(({ model }) => model === shown);
    const labels = [];
    let last = Number.POSITIVE_INFINITY;
    for (const [i, { model, side }] of all.entries()) {
      made[i].classList.toggle("beyond", i < first);
      made[i].classList.toggle("shown", i === first);
      const tall = side * scale;
      if (i < first || last - tall < APART || tall < APART) continue;
      last = tall;
      labels.push(svg("text", { x: 6, y: FRAME - tall + 15 }, model.title));
    }
    put(names, ...labels);
    put(corner, where(Math.sqrt(shown.parameters / basis.parameters)));
    const said = `${shown.title}, ${shown.times} MicroGPT's parameters`;
    drawing.setAttribute("aria-label", `Squares as large as the models: ${said}`);
  }
  return { element: h("div", {}, drawing, corner), show };
}

/** @param {number} times how many times MicroGPT's square lies along a side */
function where(times) {
  const many = Math.round(times).toLocaleString("en");
  if (times < 1.5) return "A square's area is a model's number of parameters.";
  return `MicroGPT is the square in the lower left corner: ${many} of them fit along a side.`;
}

/** @param {Entry} basis @param {Entry} now */
function overview(basis, now) {
  return [
    h("caption", {}, now === basis ? "In seven rows" : `${now.times} MicroGPT's parameters`),
    head(basis, now),
    ...Object.keys(basis.overview).map((name) =>
      row(name, basis.overview[name], now.overview[name], basis === now),
    ),
  ];
}

/** @param {Entry} basis @param {Entry} now */
function head(basis, now) {
  return h(
    "tr",
    {},
    h("td"),
    h("th", { scope: "col" }, basis.title),
    basis !== now && h("th", { scope: "col" }, now.title),
  );
}

/** @param {string} name @param {string} ours @param {string} theirs @param {boolean} one */
function row(name, ours, theirs, one) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    h("td", {}, ours),
    !one && h("td", {}, theirs),
  );
}

/** A component in its place: how big it is, and how much of it is changed.
 * @param {Component} found @param {string} part @param {Record<string, number>} most
 * @param {() => void} opened */
function card({ component, size, changed }, part, most, opened) {
  const log = (/** @type {number | null} */ x) => Math.log10(Math.max(1, x ?? 1));
  return h(
    "button",
    {
      type: "button",
      class: "component",
      "aria-pressed": String(component === part),
      onclick: opened,
    },
    h("b", {}, component),
    h("small", {}, size.name),
    h("span", { class: "component-size" }, size.text),
    h("i", { "--p": size.value === null ? 0 : log(size.value) / log(most[component]) }),
    h("small", { class: changed.length ? "changed" : "" }, kinds(changed.length)),
  );
}

/** @param {number} many */
function kinds(many) {
  return many ? `${many} change${many > 1 ? "s" : ""} in kind` : "the same in kind";
}

/** What is the same, changed and only bigger in one component.
 * @param {Entry} basis @param {Entry} now @param {string} part
 * @param {Record<string, string>} bricks */
function differences(basis, now, part, bricks) {
  const found = /** @type {Component} */ (now.components.find((c) => c.component === part));
  const list = (
    /** @type {string} */ name,
    /** @type {Node[]} */ items,
    /** @type {string} */ none,
  ) => h("div", {}, h("h3", {}, name), items.length ? h("ul", {}, ...items) : h("p", {}, none));
  return [
    h("h2", {}, now === basis ? part : `${part}: ${now.title} beside ${basis.title}`),
    list("the same", [h("li", {}, found.same)], ""),
    list(
      "changed",
      found.changed.map((change) => changeItem(change, bricks[change.brick])),
      "Nothing.",
    ),
    list(
      "only bigger",
      found.bigger.map(({ name, text }) => h("li", {}, `${name}: `, h("b", {}, text))),
      "Nothing.",
    ),
  ];
}

/** @param {Change} change @param {string | undefined} code */
function changeItem({ name, sentence, lessons }, code) {
  const taught = lessons.flatMap((lesson) => [
    " ",
    h("a", { href: `#lessons?lesson=${lesson}` }, `Lesson ${lesson}`),
  ]);
  return h(
    "li",
    {},
    h("b", {}, name),
    `: ${sentence}`,
    ...taught,
    code &&
      h(
        "details",
        {},
        h("summary", {}, `${name} in Python`),
        h("pre", { tabindex: 0 }, code.trimEnd()),
      ),
  );
}

/** Parameters by part, then what all of it costs. @param {Entry} basis @param {Entry} now */
function ledgerRows(basis, now) {
  const one = basis === now;
  const parts = Object.keys(basis.parts).filter((name) => basis.parts[name] || now.parts[name]);
  const whole = (/** @type {number} */ n) => n.toLocaleString("en");
  return [
    h("caption", {}, now.source),
    head(basis, now),
    ...parts.map((name) =>
      row(`parameters: ${name}`, whole(basis.parts[name]), whole(now.parts[name]), one),
    ),
    ...basis.costs.map(({ name, text }, i) => row(name, text, now.costs[i].text, one)),
  ];
}

export default { render };
