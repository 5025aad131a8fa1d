// What the screens draw with: elements, numbers as text, vectors as strips of colour.

/**
 * Make an HTML element. Attributes whose value is false, null or undefined are left out; those that
 * begin with "on" are listeners; "--name" sets a style property, which the sheet turns to colour.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. @type {typeof h} */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** @param {any} element @param {Record<string, any>} attributes @param {any[]} children */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, String(value));
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  put(element, ...children);
  return element;
}

/** A box that scrolls: reached by Tab, named for who cannot see it.
 * @param {string} name @param {string} label @param {...any} children */
export function region(name, label, ...children) {
  const how = { class: name, tabindex: 0, role: "region", "aria-label": label };
  return h("div", how, ...children);
}

const ACROSS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
/** The keys of a list on a screen whose ← and → walk through its steps. */
export const DOWN = { ArrowDown: 1, ArrowUp: -1 };

/** Make one stop for Tab of many buttons: the arrows lead from one to the next.
 * @param {any[]} buttons @param {Record<string, number>} [keys] */
export function roving(buttons, keys = ACROSS) {
  for (const [i, button] of buttons.entries()) {
    button.tabIndex = i ? -1 : 0;
    button.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = keys[event.key];
      const next = by && buttons.at((i + by) % buttons.length);
      if (!next) return;
      event.preventDefault();
      button.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
}

/** Replace what an element holds. What is false, null or undefined is left out.
 * @param {Element} element
 * @param {...(Node | string | number | null | undefined | false)} children */
export function put(element, ...children) {
  element.replaceChildren(
    ...children
      .filter((c) => c !== null && c !== undefined && c !== false)
      .map((c) => (c instanceof Node ? c : String(c))),
  );
}

/** A number with a true minus, in so many decimals, or as a power of ten where these would show
 * nothing
 * or be too many: never −0.000. @param {number} x @param {number} [digits] */
export function number(x, digits = 3) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  const plain = size < 1e5 && size >= 0.5 * 10 ** -digits;
  return (plain ? x.toFixed(digits) : x.toExponential(1)).replaceAll("-", "−");
}

/** @param {number} p */
export function percent(p) {
  if (p === 0) return "0";
  if (p >= 0.9995) return "100%";
  return p >= 0.0995 ? `${(100 * p).toFixed(0)}%` : p >= 0.01 ? `${(100 * p).toFixed(1)}%` : "<1%";
}

/** The letter of a token as it is shown; BOS, which begins and ends a name, is a word.
 * @param {number} token @param {string} vocabulary @param {string} [bos] */
export function letter(token, vocabulary, bos = "end") {
  return token < vocabulary.length ? vocabulary[token] : bos;
}

/** What makes an element a number that can be looked at: origin.mjs shows where it comes from.
 * @param {number | undefined} node  the Value that holds it @param {string} title  and its name */
export function valued(node, title) {
  const looked = node === undefined ? {} : { role: "button", tabindex: -1, "data-press": true };
  return { "data-node": node, title, ...looked };
}

/**
 * Draw a vector as a strip: blue above zero, orange below, the stronger the larger. The numbers are
 * there too: on hover, and as text for who cannot see colours.
 * @param {number[]} numbers
 * @param {{label: string, scale?: number, group?: number, class?: string,
 *   nodes?: number[]}} options  nodes: the Values that hold them
 */
export function strip(numbers, { label, scale, group = 0, class: extra = "", nodes = [] }) {
  const most = scale ?? Math.max(1e-9, ...numbers.map(Math.abs));
  const cells = numbers.map((x, i) =>
    h("i", {
      class: x < 0 ? "cell minus" : "cell",
      ...valued(nodes[i], `${label}[${i}] = ${number(x, 4)}`),
      "data-x": x,
      "data-gap": group > 0 && i > 0 && i % group === 0,
      "--v": Math.min(1, Math.abs(x) / most).toFixed(3),
    }),
  );
  return h(
    "span",
    {
      class: `strip ${extra}`,
      role: nodes.length ? "group" : "img",
      "aria-label": `${label}: ${numbers.map((x) => number(x, 2)).join(", ")}`,
    },
    ...cells,
  );
}

/** Take the focus, where a screen is the whole page: beside a text, someone may be writing.
 * @param {HTMLElement} el  the view @param {HTMLElement} target */
export function focus(el, target) {
  const alone = !el.closest(".live-screen");
  if (alone && matchMedia("(hover: hover)").matches) target.focus({ preventScroll: true });
}

/** Say what a view shows now, as parameters that would show it again; the page puts them in its
 * address.
 * @param {HTMLElement} el @param {Record<string, string | number>} params */
export function remember(el, params) {
  el.dispatchEvent(new CustomEvent("params", { bubbles: true, detail: params }));
}

/** Call a function at most once a frame, with the latest arguments.
 * @template {any[]} A @param {(...args: A) => void} f @returns {(...args: A) => void} */
export function once(f) {
  /** @type {A | null} */
  let latest = null;
  return (...args) => {
    if (!latest)
      requestAnimationFrame(() => {
        const now = /** @type {A} */ (latest);
        latest = null;
        f(...now);
      });
    latest = args;
  };
}

/** Say whether what elements show is older than what was last asked: then the sheet makes it grey.
 * @param {Element[]} elements @param {boolean} old */
export function outdated(elements, old) {
  for (const element of elements) {
    element.classList.toggle("outdated", old);
    element.setAttribute("aria-busy", String(old));
  }
}

/** Ask one question at a time, the latest first: what was asked in between is dropped.
 * @template Q, A @param {(question: Q) => Promise<A>} ask
 * @param {(answer: A, question: Q) => void} [heard]
 * @param {...Element} shown  what the answers are drawn in */
export function latest(ask, heard = () => {}, ...shown) {
  /** @type {{question: Q} | null} */
  let next = null;
  let busy = false;
  /** @param {Q} question */
  return async (question) => {
    next = { question };
    outdated(shown, true);
    if (busy) return;
    busy = true;
    try {
      while (next) {
        const { question: now } = next;
        next = null;
        const answer = await ask(now);
        if (next) continue;
        heard(answer, now);
        outdated(shown, false);
      }
    } finally {
      busy = false;
    }
  };
}

/** Return what waits for answers that are drawn in some elements: it gives each, or null where
 * another has been asked for meanwhile.
 * @param {...Element} shown */
export function newest(...shown) {
  let asked = 0;
  /** @template T @param {Promise<T>} answer */
  return async (answer) => {
    const mine = ++asked;
    outdated(shown, true);
    try {
      const found = await answer;
      return mine === asked ? found : null;
    } finally {
      if (mine === asked) outdated(shown, false);
    }
  };
}

/** A dial: a slider with its value and a line that says what it does.
 * @param {{label: string, min: number, max: number, step: number, value: number,
 * show?: (x: number) => string, hint?: string | ((x: number) => string | (string | Node)[]),
 * turned: (x: number) => void}} options */
export function dial({ label, min, max, step, value, show = String, hint, turned }) {
  const output = h("output", {}, show(value));
  const says = typeof hint === "function" ? hint : () => hint;
  const line = h("small", {}, ...[says(value)].flat());
  /** @param {number} x */
  const tell = (x) => {
    output.textContent = show(x);
    put(line, ...[says(x)].flat());
  };
  const input = h("input", {
    type: "range",
    min,
    max,
    step,
    value,
    "aria-label": label,
    oninput: () => {
      tell(Number(input.value));
      turned(Number(input.value));
    },
  });
  const element = h(
    "div",
    { class: "dial" },
    h("span", { class: "dial-name" }, label),
    output,
    input,
    hint && line,
  );
  return {
    element,
    set(/** @type {number} */ x) {
      input.value = x;
      tell(x);
    },
  };
}

const KEYWORDS =
  "def class return for in while if else elif import from as not is and or lambda " +
  "try except None True False";
const WORDS = new RegExp(
  [/#.*$/, /"""[\s\S]*?"""/, /f?"[^"\n]*"/, /\b\d[\d.e_-]*\b/]
    .map((kind) => kind.source)
    .concat(`\\b(?:${KEYWORDS.replaceAll(" ", "|")})\\b`)
    .join("|"),
  "gm",
);

/** Python source as numbered lines, its words coloured a little. @param {string} source */
export function code(source) {
  const list = h("ol", { class: "code" });
  let line = h("li", { "data-line": 1 });
  list.append(line);
  let from = 0,
    count = 1;
  /** @param {string} text @param {string} kind */
  const put = (text, kind) => {
    for (const [i, piece] of text.split("\n").entries()) {
      if (i) {
        line = h("li", { "data-line": ++count });
        list.append(line);
      }
      if (piece) line.append(kind ? h("span", { class: kind }, piece) : piece);
    }
  };
  for (const match of source.trimEnd().matchAll(WORDS)) {
    put(source.slice(from, match.index), "");
    const text = match[0];
    put(
      text,
      text.startsWith("#") || text.startsWith('"""')
        ? "comment"
        : /^f?"/.test(text)
          ? "string"
          : /^\d/.test(text)
            ? ""
            : "word",
    );
    from = match.index + text.length;
  }
  put(source.trimEnd().slice(from), "");
  return list;
}

/** Mark the line that runs, and those that called it, and bring it into sight.
 * @param {HTMLElement} list @param {number} line @param {Set<number>} calling */
export function marked(list, line, calling = new Set()) {
  for (const item of list.querySelectorAll(".now, .calling"))
    item.classList.remove("now", "calling");
  for (const caller of calling) list.children[caller - 1]?.classList.add("calling");
  const item = /** @type {HTMLElement} */ (list.children[line - 1]);
  item.classList.add("now");
  const box = /** @type {HTMLElement} */ (list.parentElement);
  const a = box.getBoundingClientRect(),
    b = item.getBoundingClientRect();
  if (b.top < a.top + 60 || b.bottom > a.bottom - 60)
    box.scrollTop += b.top - a.top - a.height * 0.4;
}
