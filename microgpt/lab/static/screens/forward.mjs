// Forward: gpt.py reads a name, line by line; beside its source, what each line has computed.
import { code, h, letter, marked, number, percent, put, remember, strip, svg } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

const SCALE = 2.5; // what is drawn in full colour, everywhere, so that sizes can be compared
const MEANING = {
  attn_wq: "query: what this letter looks for",
  attn_wk: "key: what it is found by",
  attn_wv: "value: what it has to tell",
  attn_wo: "what the heads found, back in one piece",
  mlp_fc1: "64 questions about the letter",
  mlp_fc2: "what the answers add",
};

/** A trace of xray, and what is read from it (docs/xray.md has its fields). */
class Reading {
  /** @param {any} trace */
  constructor(trace) {
    this.trace = trace;
    this.before = Object.values(trace.parts.params).flat(2); // parameters are the first nodes
    /** @type {any[]} */
    this.positions = trace.positions;
    this.end = trace.calls[0][5];
  }

  /** @param {number} node @returns {number} */
  at(node) {
    return node < this.trace.first ? this.before[node] : this.trace.data[node - this.trace.first];
  }

  /** The numbers of nodes written as runs [first, count, stride]. @param {any} runs @returns {number[]} */
  nodes(runs) {
    return (runs ?? []).flatMap((/** @type {any} */ run) =>
      run === null
        ? []
        : Array.from({ length: run[1] ?? 1 }, (_, k) => this.at(run[0] + k * (run[2] ?? 1))),
    );
  }

  /** The numbers that a name held. @param {any} seen @returns {number[]} */
  numbers(seen) {
    if (typeof seen === "number") return [seen];
    if (Array.isArray(seen))
      return Array.isArray(seen[0]) || seen[0] === null
        ? this.nodes(seen)
        : seen.map((node) => this.at(node));
    if (seen && typeof seen === "object") {
      if (seen.values) return seen.values;
      if (seen.nodes) return this.nodes(seen.nodes);
      if (seen.data !== undefined) return [seen.data];
      if (Array.isArray(seen.value))
        return seen.value.filter((/** @type {any} */ x) => typeof x === "number");
      if (typeof seen.value === "number") return [seen.value];
    }
    return [];
  }

  /** The calls made for the statement that is this event. @param {number} event */
  inner(event) {
    const { calls, events } = this.trace;
    const mine = events[event][0];
    let first = event; // back to where the statement before it ended
    while (first > 0 && events[first - 1][0] !== mine && this.within(events[first - 1][0], mine))
      first--;
    return calls
      .map((/** @type {any} */ call, /** @type {number} */ i) => ({
        i,
        fn: call[0],
        parent: call[1],
        args: call[3],
        from: call[4],
        to: call[5],
      }))
      .filter((/** @type {any} */ c) => c.parent === mine && c.from >= first && c.from <= event);
  }

  /** @param {number} call @param {number} outer */
  within(call, outer) {
    for (let c = call; c !== null && c !== undefined; c = this.trace.calls[c][1])
      if (c === outer) return true;
    return false;
  }
}

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { source, config, vocabulary, text = "emma" } = model.get("described");
  const state = {
    text: params.text ?? text,
    now: 0,
    step: Number(params.step ?? -1),
    fine: params.lines === "all",
  };
  /** @type {Reading} */
  let reading;
  /** @type {number[]} */
  let stops = []; // the events that stepping stops at
  let drawn = -1;
  let timer = 0;

  const name = h("input", {
    type: "text",
    value: state.text,
    maxlength: config.block_size,
    "aria-label": "The name to read",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    onchange: () => read(name.value.toLowerCase().trim()),
  });
  const letters = h("div", { class: "positions", role: "group", "aria-label": "Positions" });
  const slider = h("input", {
    type: "range",
    min: 0,
    value: 0,
    "aria-label": "Line",
    oninput: () => go(Number(slider.value)),
  });
  const play = h("button", { type: "button", class: "strong", onclick: toggle }, "Play");
  const fine = h("input", {
    type: "checkbox",
    checked: state.fine,
    onchange: () => {
      const event = stops[state.step];
      state.fine = fine.checked;
      layStops();
      go(stops.findIndex((s) => s >= event));
    },
  });
  const listing = code(source);
  const said = h("div", { class: "line-now", role: "status" });
  const drawing = h("div", {
    class: "drawing",
    tabindex: 0,
    role: "region",
    "aria-label": "The model, drawn",
  });

  el.append(
    h(
      "div",
      { class: "bar-top" },
      h("h1", {}, "Forward"),
      h("label", { class: "read" }, h("span", {}, "The model reads"), name),
      letters,
    ),
    h(
      "div",
      { class: "transport" },
      h(
        "button",
        { type: "button", "aria-label": "Back to the start", title: "Home", onclick: () => go(0) },
        "⇤",
      ),
      h(
        "button",
        {
          type: "button",
          "aria-label": "One line back",
          title: "←",
          onclick: () => go(state.step - 1),
        },
        "←",
      ),
      play,
      h(
        "button",
        {
          type: "button",
          "aria-label": "One line on",
          title: "→",
          onclick: () => go(state.step + 1),
        },
        "→",
      ),
      slider,
      h("label", { class: "check" }, fine, "into every function"),
    ),
    h(
      "div",
      { class: "pair" },
      h(
        "div",
        { class: "left" },
        h(
          "div",
          { class: "listing", tabindex: 0, role: "region", "aria-label": "gpt.py" },
          listing,
        ),
        said,
      ),
      drawing,
    ),
  );

  /** @param {string} text */
  async function read(text) {
    stop();
    const trace = await model.ask("trace", { text });
    state.text = text;
    reading = new Reading(trace);
    drawn = -1;
    layStops();
    put(
      letters,
      ...reading.positions.map((p, i) =>
        h(
          "button",
          {
            type: "button",
            class: "position",
            "data-pos": i,
            title: `Position ${i}`,
            onclick: () => go(stops.findIndex((s) => s >= trace.calls[p.call][4])),
          },
          h("b", {}, letter(p.token, vocabulary, "BOS")),
          h(
            "small",
            {},
            h("span", { class: "arrow" }, "→ "),
            letter(trace.tokens[i + 1], vocabulary),
          ),
          h("span", {
            class: "cost",
            "--p": Math.min(1, reading.nodes(p.surprise)[0] / 5),
            "data-x": reading.nodes(p.surprise)[0],
          }),
        ),
      ),
    );
    go(state.step < 0 ? opening() : state.step);
  }

  /** Where to open: the fourth letter has just looked back at the others. */
  function opening() {
    const { calls } = reading.trace;
    const { call } = reading.positions[Math.min(3, reading.positions.length - 1)];
    const looking = calls.find((/** @type {any} */ c) => c[0] === "attention" && c[1] === call);
    return looking ? stops.findIndex((s) => s >= looking[5]) : 0;
  }

  function layStops() {
    const { events, calls } = reading.trace;
    stops = [];
    for (let i = 0; i < reading.end; i++) {
      const fn = calls[events[i][0]][0];
      const shows = Object.keys(events[i][2] ?? {}).length > 0;
      if (shows && (state.fine || fn === "gpt" || fn === "loss")) stops.push(i);
    }
    slider.max = stops.length - 1;
  }

  /** @param {number} step */
  function go(step) {
    state.step = Math.max(0, Math.min(stops.length - 1, step));
    state.now = stops[state.step];
    slider.value = state.step;
    slider.setAttribute("aria-valuetext", `line ${reading.trace.events[state.now][1]}`);
    const { events, calls } = reading.trace;
    const [call, line] = events[state.now];
    const calling = new Set();
    for (let c = call; calls[c][1] !== null; c = calls[c][1]) calling.add(calls[c][2]);
    marked(listing, line, calling);
    let pos = reading.positions.findIndex((p) => state.now < calls[p.call][5]);
    const after =
      pos < 0
        ? reading.positions.length - 1
        : state.now < calls[reading.positions[pos].call][4] && pos > 0
          ? pos - 1
          : pos;
    pos = after;
    if (pos !== drawn) draw(pos);
    for (const part of drawing.querySelectorAll("[data-at]")) {
      const at = Number(part.dataset.at);
      part.classList.toggle("todo", at > state.now);
      const from = Number(part.dataset.from ?? at);
      part.classList.toggle("now", from <= state.now && state.now <= at);
    }
    for (const [i, tab] of [...letters.children].entries()) {
      tab.toggleAttribute("aria-current", i === pos);
      const next = reading.positions[i + 1];
      tab.classList.toggle("todo", state.now < (next ? calls[next.call][4] - 1 : reading.end - 1));
      tab.classList.toggle("ahead", i > pos);
    }
    say(state.now);
    const active = drawing.querySelector(".row.now, .now");
    if (active) keep(drawing, /** @type {HTMLElement} */ (active));
    remember(el, { text: state.text, step: state.step, ...(state.fine ? { lines: "all" } : {}) });
  }

  /** The numbers of the line, as strips and as a table. @param {number} event */
  function say(event) {
    const { events, calls } = reading.trace;
    const [call, line, set] = events[event];
    const entries = Object.entries(set ?? {}).map(([key, seen]) => ({
      key,
      seen,
      numbers: reading.numbers(seen),
    }));
    put(
      said,
      h("h2", {}, `Line ${line} in ${calls[call][0]}()`),
      ...entries.map(({ key, seen, numbers }) =>
        h(
          "div",
          { class: "held" },
          h("code", {}, key),
          numbers.length > 1
            ? strip(numbers, { label: key, scale: scale(numbers), class: "thin" })
            : h(
                "span",
                { "data-x": numbers[0] },
                numbers.length
                  ? number(numbers[0], Number.isInteger(numbers[0]) ? 0 : 4)
                  : typeof seen === "string"
                    ? seen
                    : "empty",
              ),
          numbers.length > 1 &&
            h(
              "details",
              {},
              h("summary", {}, `${numbers.length} numbers`),
              h(
                "ol",
                { class: "table", start: 0 },
                ...numbers.map((x) => h("li", { "data-x": x }, number(x, 4))),
              ),
            ),
        ),
      ),
    );
  }

  /** Lay out the model at one position, every part knowing the event from which it is there. @param {number} pos */
  function draw(pos) {
    drawn = pos;
    const { trace } = reading;
    const here = reading.positions[pos];
    const [, , , , first, last] = trace.calls[here.call];
    const part = trace.parts.params;
    /** @type {any[]} */
    const groups = [];
    /** @param {string} title @param {string} text */
    const group = (title, text) => {
      const box = h("section", { class: "group" }, h("h3", {}, title), h("p", {}, text));
      groups.push(box);
      return box;
    };
    const token = letter(here.token, vocabulary, "BOS");
    let box = group("Embedding", "Two rows of numbers: one for the letter, one for its place.");
    let layer = 0;
    for (let event = first; event < last; event++) {
      const [call, , set] = trace.events[event];
      if (call !== here.call || !set) continue;
      const calls = reading.inner(event);
      const from = Math.min(event, ...calls.map((/** @type {any} */ c) => c.from));
      const when = { "data-at": event, "data-from": from };
      if ("i" in set) {
        layer = set.i;
        box = group(
          config.n_layer > 1 ? `Attention, layer ${layer}` : "Attention",
          "The letter looks back at those before it, and takes what fits.",
        );
        continue;
      }
      const linear = calls.filter((/** @type {any} */ c) => c.fn === "linear");
      const weights = linear.at(-1)?.args.w?.param?.split(".").at(-1) ?? "";
      if (weights === "mlp_fc1") {
        box = group(
          config.n_layer > 1 ? `MLP, layer ${layer}` : "MLP",
          "Then it thinks by itself.",
        );
      }
      for (const [key, seen] of Object.entries(set)) {
        const numbers = reading.numbers(seen);
        if (key === "return") {
          box = group(
            "Guess",
            "A score for every letter; softmax turns scores into probabilities.",
          );
          box.append(guess(here, numbers, when, pos));
        } else if (/^(keys|values)\[/.test(key)) {
          box.append(memory(key.startsWith("keys") ? "keys" : "values", layer, pos, when, weights));
        } else if (calls.some((/** @type {any} */ c) => c.fn === "attention")) {
          box.append(
            heads(
              calls.find((/** @type {any} */ c) => c.fn === "attention"),
              layer,
              pos,
              when,
            ),
          );
          box.append(row(key, numbers, "what the heads took", when, config.n_embd / config.n_head));
        } else if (weights === "mlp_fc2") {
          box.append(units(reading.nodes(here.hidden[layer]), when));
          box.append(row(key, numbers, MEANING.mlp_fc2, when));
        } else if (weights === "mlp_fc1") {
          box.append(row(key, numbers, MEANING.mlp_fc1, when, 0, false, "narrow"));
        } else if (calls.some((/** @type {any} */ c) => c.fn === "rmsnorm")) {
          const normed = calls.find((/** @type {any} */ c) => c.fn === "rmsnorm");
          const before = reading.numbers(normed.args.x);
          box.append(
            row(
              key,
              numbers,
              `rmsnorm: size ${number(rms(before), 2)} → ${number(rms(numbers), 2)}`,
              when,
            ),
          );
        } else if (event === first) {
          const letterRow = part.wte?.[here.token],
            placeRow = part.wpe?.[here.pos];
          if (letterRow && placeRow) {
            box.append(
              row(`wte[${token}]`, letterRow, "the letter", {
                "data-at": event,
                "data-from": event,
              }),
              row(`wpe[${here.pos}]`, placeRow, "its place", {
                "data-at": event,
                "data-from": event,
              }),
            );
          }
          box.append(row(key, numbers, "their sum", when, 0, true));
        } else if (numbers.length > 1) {
          const what =
            /** @type {Record<string, string>} */ (MEANING)[weights] ??
            (key === "x" ? "added to the stream" : "");
          box.append(
            row(
              key,
              numbers,
              what,
              when,
              /^attn_w[qkv]$/.test(weights) ? config.n_embd / config.n_head : 0,
              key === "x",
            ),
          );
        }
      }
    }
    put(drawing, ...groups);
  }

  /** @param {string} key @param {number[]} numbers @param {string} note @param {object} when
   * @param {number} [by] @param {boolean} [stream] @param {string} [form] */
  function row(key, numbers, note, when, by = 0, stream = false, form = "") {
    return h(
      "div",
      { class: stream ? "row stream" : "row", ...when },
      h("code", {}, key),
      strip(numbers, { label: key, scale: SCALE, group: by, class: form }),
      h("small", {}, note),
    );
  }

  /** The KV cache, a row for each position so far.
   * @param {"keys" | "values"} which @param {number} layer @param {number} pos @param {object} when @param {string} weights */
  function memory(which, layer, pos, when, weights) {
    const rows = [];
    const by = config.n_embd / config.n_head;
    for (let p = 0; p <= pos; p++) {
      const call = reading.positions[p].call;
      const [, , , , from, to] = reading.trace.calls[call];
      for (let e = from; e < to; e++) {
        const seen =
          reading.trace.events[e][0] === call &&
          reading.trace.events[e][2]?.[`${which}[${layer}][${p}]`];
        if (seen) {
          rows.push(
            h(
              "div",
              { class: p === pos ? "memory-row new" : "memory-row" },
              h("b", {}, letter(reading.positions[p].token, vocabulary, "‣")),
              strip(reading.numbers(seen), {
                label: `${which}[${p}]`,
                scale: SCALE,
                group: by,
                class: "thin",
              }),
            ),
          );
        }
      }
    }
    return h(
      "div",
      { class: "row memory", ...when },
      h("code", {}, which),
      h("div", {}, ...rows),
      h("small", {}, /** @type {Record<string, string>} */ (MEANING)[weights] ?? ""),
    );
  }

  /** Attention, a panel for each head: arcs over the letters, and the grid of all positions so far.
   * @param {any} call @param {number} layer @param {number} pos @param {Record<string, any>} when */
  function heads(call, layer, pos, when) {
    const { trace } = reading;
    const count = reading.positions.length;
    /** @type {number[]} */
    const ready = []; // the event at which each head's weights are there
    for (let e = call.from; e < call.to; e++) {
      const [c, , set] = trace.events[e];
      if (trace.calls[c][0] === "softmax" && trace.calls[c][1] === call.i && set && "return" in set)
        ready.push(e);
    }
    const wide = 132,
      step = wide / count,
      cell = Math.min(14, step),
      tall = 46;
    const panels = reading.positions[pos].attention[layer].map(
      (/** @type {any} */ runs, /** @type {number} */ head) => {
        const weights = reading.nodes(runs);
        const middle = (/** @type {number} */ t) => step * (t + 0.5);
        const arcs = weights.map((w, t) => {
          const a = middle(t),
            b = middle(pos),
            high = Math.min(tall - 4, 8 + (b - a) * 0.55);
          return t === pos
            ? svg(
                "circle",
                { cx: b, cy: tall - 6, r: 2 + 4 * w, class: "self", "--v": w, "data-x": w },
                svg("title", {}, `itself: ${percent(w)}`),
              )
            : svg(
                "path",
                {
                  d: `M${b} ${tall - 4}C${b} ${tall - 4 - high} ${a} ${tall - 4 - high} ${a} ${tall - 4}`,
                  "stroke-width": 0.6 + 5 * w,
                  class: "arc",
                  "--v": w,
                  "data-x": w,
                },
                svg(
                  "title",
                  {},
                  `${letter(reading.positions[t].token, vocabulary, "BOS")}: ${percent(w)}`,
                ),
              );
        });
        const marks = reading.positions.map((p, t) =>
          svg(
            "text",
            { x: middle(t), y: tall + 11, class: t === pos ? "me" : t > pos ? "later" : "" },
            letter(p.token, vocabulary, "‣"),
          ),
        );
        const grid = reading.positions.slice(0, pos + 1).flatMap((p, t) =>
          reading.nodes(p.attention[layer][head]).map((w, s) =>
            svg(
              "rect",
              {
                x: step * s + (step - cell) / 2,
                y: tall + 19 + t * cell,
                width: cell - 1,
                height: cell - 1,
                rx: 2,
                class: t === pos ? "weight me" : "weight",
                "--v": w,
              },
              svg("title", {}, `position ${t} from ${s}: ${percent(w)}`),
            ),
          ),
        );
        return h(
          "figure",
          {
            class: "head",
            "data-at": ready[head] ?? when["data-at"],
            "data-from": ready[head] ?? when["data-at"],
          },
          svg(
            "svg",
            {
              viewBox: `0 0 ${wide} ${tall + 20 + count * cell}`,
              role: "img",
              "aria-label":
                `Head ${head} of position ${pos}: ` +
                weights
                  .map(
                    (w, t) =>
                      `${letter(reading.positions[t].token, vocabulary, "BOS")} ${percent(w)}`,
                  )
                  .join(", "),
            },
            ...arcs,
            ...marks,
            ...grid,
          ),
          h("figcaption", {}, `head ${head}`),
        );
      },
    );
    return h(
      "div",
      { class: "row heads", ...when },
      h("code", {}, "weights"),
      h("div", { class: "panels" }, ...panels),
    );
  }

  /** The units of the MLP: filled if alive, hollow if the ReLU has silenced them. @param {number[]} hidden @param {object} when */
  function units(hidden, when) {
    const most = Math.max(1e-9, ...hidden);
    const alive = hidden.filter((x) => x > 0).length;
    return h(
      "div",
      { class: "row", ...when },
      h("code", {}, "relu"),
      h(
        "div",
        { class: "units", role: "img", "aria-label": `${alive} of ${hidden.length} units alive` },
        ...hidden.map((x, i) =>
          h("i", {
            class: x > 0 ? "cell" : "cell dead",
            "data-x": x,
            title: `unit ${i}: ${x > 0 ? number(x, 3) : "silent"}`,
            "--v": Math.sqrt(x / most).toFixed(3),
          }),
        ),
      ),
      h("small", {}, `${alive} of ${hidden.length} units alive; the ReLU silences the rest`),
    );
  }

  /** Logits, probabilities, and what the right answer costs. @param {any} here @param {number[]} logits @param {Record<string, any>} when @param {number} pos */
  function guess(here, logits, when, pos) {
    const { trace } = reading;
    const probs = reading.nodes(here.probs);
    const surprise = reading.nodes(here.surprise)[0];
    const target = trace.tokens[pos + 1];
    const next = reading.positions[pos + 1];
    const most = Math.max(...logits.map(Math.abs)),
      top = Math.max(...probs);
    // loss() takes the softmax after gpt() has returned
    let later = Number(when["data-at"]);
    while (later < reading.end - 1 && !("probs" in (trace.events[later][2] ?? {}))) later++;
    const bars = logits.map((z, i) =>
      h(
        "div",
        {
          class: i === target ? "score target" : "score",
          title: `${letter(i, vocabulary)}: logit ${number(z, 2)}, ${percent(probs[i])}`,
        },
        h(
          "span",
          { class: z < 0 ? "logit minus" : "logit", "data-x": z, "--v": Math.abs(z) / most },
          h("i"),
        ),
        h(
          "span",
          { class: "prob", "data-at": later, "data-x": probs[i], "--v": probs[i] / top },
          h("i"),
        ),
        h("b", {}, letter(i, vocabulary, "·")),
      ),
    );
    return h(
      "div",
      { class: "row guessing", ...when, "data-at": when["data-at"] },
      h("div", { class: "guess-key" }, h("code", {}, "logits"), h("code", {}, "probs")),
      h(
        "div",
        {
          class: "scores",
          role: "img",
          "aria-label":
            "Probabilities: " +
            probs.map((p, i) => `${letter(i, vocabulary)} ${percent(p)}`).join(", "),
        },
        ...bars,
      ),
      h(
        "p",
        { class: "verdict", "data-at": later, "data-from": later },
        "It is ",
        h("b", {}, target < vocabulary.length ? vocabulary[target] : "the end"),
        `, to which it gave ${percent(probs[target])}: a surprise of −ln ${number(probs[target], 3)} = `,
        h("b", { "data-x": surprise }, number(surprise, 3)),
        " nats",
        next ? "." : `. The mean over the name, ${number(trace.loss, 4)}, is its loss.`,
      ),
    );
  }

  function toggle() {
    if (timer) return stop();
    if (state.step === stops.length - 1) go(0);
    timer = setInterval(
      () => {
        go(state.step + 1);
        if (state.step === stops.length - 1) stop();
      },
      state.fine ? 160 : 500,
    );
    play.textContent = "Pause";
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (
      !reading ||
      event.altKey ||
      event.ctrlKey ||
      event.metaKey ||
      target.matches("input, textarea, select")
    )
      return;
    const { calls } = reading.trace;
    const jump = (/** @type {number} */ by) => {
      const to = reading.positions[Math.max(0, Math.min(reading.positions.length - 1, drawn + by))];
      go(stops.findIndex((s) => s >= calls[to.call][4]));
    };
    if (event.key === "ArrowRight") event.shiftKey ? jump(1) : go(state.step + 1);
    else if (event.key === "ArrowLeft") event.shiftKey ? jump(-1) : go(state.step - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(stops.length - 1);
    else if (event.key === " " && !target.matches("button, summary")) toggle();
    else return;
    event.preventDefault();
  }

  el.addEventListener("keydown", key);
  read(state.text);
  return stop;
}

/** @param {number[]} x */
function rms(x) {
  return Math.sqrt(x.reduce((a, b) => a + b * b, 0) / x.length);
}

/** @param {number[]} x */
function scale(x) {
  return Math.max(...x.map(Math.abs), 1e-9);
}

/** Scroll a box, and nothing else, so that an element in it can be seen. @param {HTMLElement} box @param {HTMLElement} element */
function keep(box, element) {
  const a = box.getBoundingClientRect(),
    b = element.getBoundingClientRect();
  if (b.top < a.top + 40) box.scrollTop += b.top - a.top - 40;
  else if (b.bottom > a.bottom - 40)
    box.scrollTop += Math.min(b.bottom - a.bottom + 40, b.top - a.top - 40);
}

export default { render };
