// Training: a run in a process of its own, seen as it learns.
import { dial, h, letter, number, once, put, remember, svg } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

const WIDE = 720,
  TALL = 300,
  LEFT = 40,
  BOTTOM = 26; // of the chart of losses, in its own units
/** @type {Record<string, string>} */
const NAMES = { world: "names of the world", names: "published names" };
const SPEEDS = [1, 3, 10, 30, 100, 300, null]; // steps a second; the last as fast as it goes

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { engines, data } = model.get("host");
  const wish = {
    data: data.includes(params.data) ? params.data : data[0],
    engine: engines.includes(params.engine) ? params.engine : engines[0],
    steps: Number(params.steps ?? 1000),
    batch: Number(params.batch ?? 1),
    lr: Number(params.lr ?? 0.01),
    seed: Number(params.seed ?? 42),
    val: Number(params.val ?? 0.05),
    n_layer: Number(params.n_layer ?? 1),
    n_embd: Number(params.n_embd ?? 16),
    n_head: Number(params.n_head ?? 4),
  };
  let speed = SPEEDS.indexOf(100);
  /** @type {any} what the run said of itself */
  let about = null;
  /** @type {{losses: number[], smooth: number[], val: [number, number][], looks: any[]}} */
  let past = { losses: [], smooth: [], val: [], looks: [] };
  let run = "",
    paused = false,
    done = false,
    shown = -1; // shown: the look that is scrubbed to; -1 is the last
  /** @type {AbortController | null} */
  let connection = null;
  const paint = once(draw);

  const start = h(
    "button",
    { type: "button", class: "strong", onclick: () => (run && !done ? pause(!paused) : begin()) },
    "Train",
  );
  const step = h("button", { type: "button", title: "One step", onclick: one }, "Step");
  const reset = h(
    "button",
    {
      type: "button",
      onclick: () => {
        end();
        clear();
      },
    },
    "Reset",
  );
  const speedDial = dial({
    label: "Speed",
    min: 0,
    max: SPEEDS.length - 1,
    step: 1,
    value: speed,
    show: (i) => (SPEEDS[i] ? `${SPEEDS[i]}/s` : "full"),
    turned: (i) => {
      speed = i;
      order({ speed: SPEEDS[i] });
    },
  });
  const scrub = h("input", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    "aria-label": "Look back through the run",
    oninput: () => {
      shown = Number(scrub.value) === past.looks.length - 1 ? -1 : Number(scrub.value);
      paint();
    },
  });
  const play = h(
    "button",
    {
      type: "button",
      disabled: true,
      onclick: async () => {
        await model.use(play.dataset.model);
        location.hash = "play";
      },
    },
    "Play with this model",
  );
  const chart = svg("svg", { class: "losses", viewBox: `0 0 ${WIDE} ${TALL}`, role: "img" });
  const headline = h("p", { class: "headline", role: "status" });
  const names = h("ul", { class: "six" });
  const plane = svg("svg", {
    class: "plane",
    viewBox: "-1.12 -1.12 2.24 2.24",
    role: "img",
    "aria-label": "The letters' embeddings, on the plane in which they differ most",
  });
  const norms = h("div", { class: "norms" });
  const follow = h(
    "select",
    {
      "aria-label": "The parameter to follow",
      onchange: () =>
        order({
          follow: follow.value
            .split(" ")
            .map((/** @type {string} */ x, /** @type {number} */ i) => (i ? Number(x) : x)),
        }),
    },
    ...[
      ["lm_head", 0, 0],
      ["wte", 0, 0],
      ["wpe", 0, 0],
      ["layer0.attn_wq", 0, 0],
      ["layer0.mlp_fc1", 0, 0],
      ["layer0.mlp_fc2", 0, 0],
    ].map((p) => h("option", { value: p.join(" ") }, `${p[0]}[${p[1]}][${p[2]}]`)),
  );
  const followed = h("dl", { class: "followed" });

  /** @param {"data" | "engine" | "steps" | "batch" | "lr" | "seed" | "val" | "n_layer" | "n_embd" | "n_head"} key @param {string} label @param {(string | number)[]} values */
  const choice = (key, label, values) =>
    h(
      "label",
      { class: "choice" },
      h("span", {}, label),
      h(
        "select",
        {
          "data-key": key,
          onchange: (/** @type {any} */ event) => {
            const { value } = event.target;
            /** @type {any} */ (wish)[key] =
              key === "data" || key === "engine" ? value : Number(value);
            remember(el, { ...wish });
            end();
            clear();
          },
        },
        ...[...new Set([...values, wish[key]])].map((v) =>
          h("option", { value: v, selected: String(v) === String(wish[key]) }, NAMES[v] ?? v),
        ),
      ),
    );

  el.append(
    h(
      "div",
      {},
      h("h1", {}, "Training"),
      h(
        "p",
        { class: "lead" },
        "Guess, measure the error, move every number a little against it. And again.",
      ),
    ),
    h("div", { class: "transport" }, start, step, reset, speedDial.element, play),
    h(
      "div",
      { class: "choices", role: "group", "aria-label": "The run; a change begins it anew" },
      choice("data", "Data", data),
      choice("engine", "Engine", engines),
      choice("steps", "Steps", [200, 500, 1000, 3000, 10000]),
      choice("batch", "Batch", [1, 2, 4, 8, 16, 32]),
      choice("lr", "Learning rate", [0.001, 0.003, 0.01, 0.03, 0.1]),
      choice("n_layer", "Layers", [1, 2, 3]),
      choice("n_embd", "Width", [8, 16, 32, 64]),
      choice("n_head", "Heads", [1, 2, 4, 8]),
      choice("seed", "Seed", [42, 43, 44]),
    ),
    h(
      "div",
      { class: "run" },
      h(
        "section",
        { class: "wide" },
        headline,
        chart,
        h(
          "p",
          { class: "key" },
          "Dots: each step. Line: their running mean. Diamonds: names held out, never learned from.",
        ),
        h("label", { class: "scrub" }, h("span", {}, "Look back"), scrub),
      ),
      h("section", {}, h("h2", {}, "Names it makes now"), names),
      h(
        "section",
        {},
        h("h2", {}, "Where the letters lie"),
        plane,
        h(
          "p",
          { class: "key" },
          "wte, 16 numbers a letter, on the plane where they differ most (PCA); vowels in blue.",
        ),
      ),
      h("section", {}, h("h2", {}, "How large each gradient is"), norms),
      h("section", {}, h("h2", {}, "One number, as Adam moves it"), follow, followed),
    ),
  );

  function clear() {
    past = { losses: [], smooth: [], val: [], looks: [] };
    about = null;
    shown = -1;
    delete play.dataset.model;
    done = false;
    paused = false;
    buttons();
    draw();
  }

  /** @param {boolean} [still] */
  async function begin(still = false) {
    end();
    clear();
    paused = still;
    connection = new AbortController();
    const mine = connection;
    run = "starting";
    buttons();
    try {
      await model.run(
        "training",
        { ...wish, paused: still, speed: SPEEDS[speed] },
        (event) => {
          if (mine === connection) heard(event);
        },
        mine.signal,
      );
    } finally {
      if (mine === connection) {
        done = true;
        run = "";
        buttons();
      }
    }
  }

  /** @param {any} event */
  function heard(event) {
    if (event.error) throw new Error(event.error);
    if (event.run) run = event.run;
    if (event.steps) about = event;
    if (event.losses) delete play.dataset.model; // it has learned since
    if (event.model) play.dataset.model = event.model;
    for (const loss of event.losses ?? []) {
      past.losses.push(loss);
      const n = past.losses.length,
        before = past.smooth.at(-1) ?? loss;
      const keep = Math.min((n - 1) / n, 0.98);
      past.smooth.push(keep * before + (1 - keep) * loss);
    }
    if (event.val_loss !== undefined) past.val.push([event.step, event.val_loss]);
    if (event.points) {
      past.looks.push({ names: past.looks.at(-1)?.names, ...event });
      scrub.max = past.looks.length - 1;
      if (shown < 0) scrub.value = past.looks.length - 1;
    }
    if (event.done) done = true;
    buttons();
    paint();
  }

  function end() {
    connection?.abort();
    connection = null;
    run = "";
  }
  /** @param {object} what */
  async function order(what) {
    if (run && run !== "starting" && !done) await model.command(run, what);
  }
  /** @param {boolean} value */
  function pause(value) {
    paused = value;
    shown = -1;
    order({ paused });
    buttons();
  }
  async function one() {
    if (!run || done) return begin(true);
    if (!paused) return pause(true);
    await order({ step: 1 });
  }
  function buttons() {
    start.textContent = !run || done ? "Train" : paused ? "Go on" : "Pause";
    reset.disabled = !run && !past.losses.length;
    play.disabled = !play.dataset.model || !(done || paused);
  }

  function draw() {
    const look = shown < 0 ? past.looks.at(-1) : past.looks[shown];
    const at = look && shown >= 0 ? look.at : past.losses.length;
    chartOf(at);
    const total = about?.steps ?? wish.steps;
    put(
      headline,
      ...(about
        ? [
            h(
              "span",
              {},
              "step ",
              h("b", { class: "steps" }, at.toLocaleString("en")),
              ` of ${total.toLocaleString("en")}`,
            ),
            h(
              "span",
              {},
              "loss ",
              h(
                "b",
                { class: "loss", "data-x": past.losses[at - 1] },
                at ? number(past.smooth[at - 1], 3) : "–",
              ),
            ),
            h(
              "span",
              {},
              `${about.n_params.toLocaleString("en")} numbers · engine ${about.engine}`,
            ),
          ]
        : [h("span", {}, "Press Train: a model begins from noise, in a process of its own.")]),
    );
    put(
      names,
      ...(look?.names ?? []).map((/** @type {string} */ n) =>
        h("li", {}, n || "(the end at once)"),
      ),
    );
    planeOf(look);
    const sizes = Object.entries(look?.norms ?? {});
    const most = Math.max(...sizes.map(([, x]) => /** @type {number} */ (x)), 1e-9);
    put(
      norms,
      ...sizes.map(([name, x]) =>
        h(
          "div",
          { class: "norm" },
          h("code", {}, name),
          h("i", { "--p": /** @type {number} */ (x) / most }),
          h("span", { "data-x": x }, number(/** @type {number} */ (x), 3)),
        ),
      ),
    );
    const f = look?.followed;
    put(
      followed,
      ...(f
        ? [
            ["value", f.value],
            ["gradient", f.grad],
            ["m, smoothed", f.m],
            ["v, its square", f.v],
            ["next update", f.update],
          ].flatMap(([term, x]) => [
            h("dt", {}, term),
            h("dd", { "data-x": x }, number(/** @type {number} */ (x), 5)),
          ])
        : []),
    );
  }

  /** @param {number} at */
  function chartOf(at) {
    const total = about?.steps ?? wish.steps;
    const seen = past.losses.length ? past.losses : [3.4];
    const top = Math.max(3.6, Math.min(6, Math.max(...seen.slice(0, 20)) + 0.1)),
      low = Math.min(1.9, ...past.smooth.map((x) => x - 0.1));
    const x = (/** @type {number} */ s) => LEFT + ((WIDE - LEFT - 8) * s) / total;
    const y = (/** @type {number} */ l) =>
      8 + ((TALL - BOTTOM - 8) * (top - Math.min(l, top))) / (top - low);
    const stride = Math.max(1, Math.floor(past.losses.length / 1200));
    const dots = past.losses
      .filter((_, i) => i % stride === 0 && i < at)
      .map((l, i) => `M${x(i * stride + 1).toFixed(1)} ${y(l).toFixed(1)}h0`)
      .join("");
    const line = past.smooth
      .slice(0, at)
      .filter((_, i) => i % stride === 0)
      .map((l, i) => `${x(i * stride + 1).toFixed(1)} ${y(l).toFixed(1)}`)
      .join("L");
    const ticks = [];
    for (let l = Math.ceil(low * 2) / 2; l <= top; l += 0.5) ticks.push(l);
    const known = /** @type {[string, number][]} */ (
      about
        ? [
            ["knowing nothing", about.uniform],
            ["counting pairs", about.bigram],
          ]
        : [["knowing nothing", Math.log(27)]]
    );
    put(
      chart,
      ...ticks.flatMap((l) => [
        svg("path", { class: "tick", d: `M${LEFT} ${y(l)}H${WIDE - 8}` }),
        svg("text", { x: LEFT - 6, y: y(l) + 4, class: "end" }, l.toFixed(1)),
      ]),
      ...[0, 0.25, 0.5, 0.75, 1].map((f) =>
        svg(
          "text",
          { x: x(f * total), y: TALL - 6, class: f === 1 ? "end" : f ? "middle" : "" },
          Math.round(f * total).toLocaleString("en"),
        ),
      ),
      ...known.flatMap(([text, l]) => [
        svg("path", { class: "known", d: `M${LEFT} ${y(l)}H${WIDE - 8}` }),
        text === "counting pairs"
          ? svg("text", { x: LEFT + 6, y: y(l) + 15 }, `${text} ${l.toFixed(3)}`) // the curve comes down to it later
          : svg("text", { x: WIDE - 12, y: y(l) - 5, class: "end" }, `${text} ${l.toFixed(3)}`),
      ]),
      svg("path", { class: "dots", d: dots }),
      line && svg("path", { class: "line", d: `M${line}` }),
      ...past.val
        .filter(([s]) => s <= at)
        .map(([s, l]) =>
          svg(
            "path",
            { class: "val", d: `M${x(s)} ${y(l) - 5}l5 5l-5 5l-5 -5z` },
            svg("title", {}, `held out, step ${s}: ${l.toFixed(4)}`),
          ),
        ),
    );
    chart.setAttribute(
      "aria-label",
      past.losses.length
        ? `Loss ${number(past.smooth[at - 1] ?? 0, 3)} after ${at} steps`
        : "Loss over the steps, empty as yet",
    );
  }

  /** @param {any} look */
  function planeOf(look) {
    if (!look) return plane.replaceChildren();
    const far = Math.max(...look.points.flat().map(Math.abs), 1e-9);
    const { vocabulary } = about;
    while (plane.childElementCount < look.points.length) {
      const token = plane.childElementCount;
      plane.append(
        svg(
          "text",
          {
            class: "aeiou".includes(letter(token, vocabulary))
              ? "vowel"
              : token === vocabulary.length
                ? "bos"
                : "",
          },
          letter(token, vocabulary, "BOS"),
        ),
      );
    }
    for (const [token, [a, b]] of look.points.entries()) {
      plane.children[token].setAttribute(
        "transform",
        `translate(${(a / far).toFixed(3)} ${(-b / far).toFixed(3)})`,
      );
    }
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.altKey || event.ctrlKey || event.metaKey || target.matches("input, select, button"))
      return;
    if (event.key === " ") start.click();
    else if (event.key === "ArrowRight") one();
    else return;
    event.preventDefault();
  }

  el.addEventListener("keydown", key);
  clear();
  return end;
}

export default { render };
