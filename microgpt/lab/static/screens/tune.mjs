// Tune: after training. The model writes, a reward or a person judges, and what earned more becomes
// likelier.
import { chart, plot, ticks } from "../chart.mjs";
import { dial, h, number, once, put, remember, svg } from "../draw.mjs";
import { runner } from "../runner.mjs";

/** @typedef {import("../app.mjs").Model} Model */

/**
 * A run and what it has shown.
 * @typedef {object} Session
 * @property {string} reward  what it learns from
 * @property {number} beta  which of BETAS
 * @property {number} replay  which of SHARES
 * @property {number} lr  which of RATES
 * @property {[string, string][]} pairs  the names chosen, and those they were chosen over
 * @property {any} about  what the run said of itself
 * @property {number} preparing  how far the model that learns sums first has come, 0 to 1
 * @property {Record<string, number>[]} seen  what was measured, step by step
 * @property {[string, number][]} written  documents, and log p - log p of the model before
 * @property {[string, number][]} first  what the model before wrote with the same draws
 * @property {number[][]} sums
 * @property {string} trained  the model as it is now, where it rests
 * @property {string} error
 * @property {boolean} paused
 * @property {boolean} done
 */

/** What there is to learn from: how it is called, the steps, and a beta to begin with.
 * @type {Record<string, [string, number, number]>} */
const REWARDS = {
  vowel: ["a reward: names that end in a vowel", 200, 0.05],
  "length:5": ["a reward: names of five letters", 200, 0.05],
  "has:z": ["a reward: names with a z", 200, 0.05],
  "like:world": ["a reward: sounds like the world's names", 200, 0.2],
  sums: ["a checker: sums, half of them learned wrong", 600, 0],
  pairs: ["you: choose between two names", 60, 0.5],
  examples: ["examples: emma> is answered by e4", 500, 0],
};
const BETAS = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 3];
const RATES = [0.0003, 0.001, 0.003, 0.01, 0.03];
/** Learning rates to begin with; 0.003 for what is not here. @type {Record<string, number>} */
const FIRST_RATES = { pairs: 0.001, examples: 0.01 };
const SHARES = [0, 0.1, 0.25, 0.5, 0.75];
/** What is measured: its name, and its range, or null where it is that of the numbers.
 * @type {Record<string, [string, [number, number] | null]>} */
const MEASURES = {
  reward: ["reward", null],
  kl: ["KL, nats/document", null],
  entropy: ["entropy, nats/document", null],
  distinct: ["distinct, share of a batch", [0, 1]],
  won: ["pairs won, share", [0, 1]],
  chosen: ["log π/π₀ of the chosen, nats", null],
  rejected: ["log π/π₀ of the others, nats", null],
  kept: ["loss on plain names, nats/token", null],
  asked: ["loss on answers, nats/token", null],
};
const END = "(the end at once)";
const FULL = 4; // nats: a ratio so far from 0 has all its colour
const ENOUGH = 5; // choices, before there is something to learn
const PLENTY = 25; // choices, until what it writes is seen to change

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const tuning = create(model, params.reward in REWARDS ? params.reward : "vowel");
  const { session } = tuning;
  const parts = [transportOf, dialsOf, chooserOf].map((part) => part(model, tuning));
  const views = [headlineOf, planeOf, writtenOf, sumsOf, stripsOf].map((view) => view(tuning));
  const lead =
    "After training: the model writes, someone judges, and what earned more becomes likelier.";
  const select = h(
    "select",
    {
      onchange() {
        tuning.choose(select.value);
        remember(el, { reward: session.reward });
      },
    },
    ...Object.entries(REWARDS).map(([value, [text]]) =>
      h("option", { value, selected: value === session.reward }, text),
    ),
  );
  el.append(
    h("div", {}, h("h1", {}, "Tune"), h("p", { class: "lead" }, lead)),
    h("label", { class: "learn-from" }, h("span", {}, "It learns from "), select),
    ...parts.map((part) => part.element),
    h("div", { class: "tuned" }, ...views.map((view) => view.element)),
  );
  const draw = once(() => {
    for (const part of [...parts, ...views]) part.draw();
  });
  tuning.watch(draw);
  remember(el, { reward: session.reward });
  draw();
  return tuning.reset;
}

/** What the dials say. @param {Session} session */
function dialled({ beta, lr, replay }) {
  return { beta: BETAS[beta], lr: RATES[lr], replay: SHARES[replay] };
}

/** What no run has shown yet. */
function nothing() {
  const none = { seen: [], written: [], first: [], sums: [], trained: "", error: "" };
  return { about: null, preparing: 0, ...none, paused: false, done: false };
}

/** @param {Model} model @param {string} reward */
function create(model, reward) {
  /** @type {Session} */
  const session = { reward, beta: 0, replay: 0, lr: 0, pairs: [], ...nothing() };
  let draw = () => {};
  const run = runner(model, "tuning", (event) => {
    if (event.error) session.error = event.error;
    if (event.preparing) session.preparing = event.preparing;
    if (event.frontier) session.about = event;
    if (event.seen?.length) {
      session.seen.push(...event.seen);
      session.trained = "";
    }
    if (event.written) session.written = event.written;
    if (!session.first.length) session.first = session.written;
    if (event.sums) session.sums = event.sums;
    if (event.model) session.trained = event.model;
    if (event.done) session.done = true;
    draw();
  });

  function reset() {
    run.stop();
    Object.assign(session, nothing());
    draw();
  }

  /** @param {string} name */
  function choose(name) {
    session.reward = name;
    session.beta = BETAS.indexOf(REWARDS[name][2]);
    session.lr = RATES.indexOf(FIRST_RATES[name] ?? 0.003);
    reset();
  }

  async function start(paused = false) {
    reset();
    session.paused = paused;
    const { pairs } = session;
    const own = session.reward === "pairs" ? { pairs, batch: Math.min(32, pairs.length) } : {};
    const asked = { reward: session.reward, steps: REWARDS[session.reward][1], ...own };
    const over = run.start({ ...asked, paused, ...dialled(session) });
    draw();
    await over.finally(draw);
  }

  choose(reward);
  return {
    session,
    start,
    reset,
    choose,
    /** @param {boolean} paused */
    pause(paused) {
      session.paused = paused;
      run.command({ paused });
      draw();
    },
    step() {
      if (!run.going) return start(true);
      return session.paused ? run.command({ step: 1 }) : this.pause(true);
    },
    /** Turn a dial, also while it learns. */
    turned() {
      run.command(dialled(session));
      draw();
    },
    /** @param {() => void} how */
    watch(how) {
      draw = how;
    },
    changed: () => draw(),
    get going() {
      return run.going && !session.done;
    },
  };
}

/** @typedef {ReturnType<typeof create>} Tuning */

/** @param {Model} model @param {Tuning} tuning */
function transportOf(model, tuning) {
  const { session } = tuning;
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, more = {}) =>
    h("button", { type: "button", onclick, ...more }, text);
  const toggle = () => (tuning.going ? tuning.pause(!session.paused) : tuning.start());
  const start = button("Tune", toggle, { class: "strong" });
  const step = button("Step", () => tuning.step(), { title: "One step" });
  const reset = button("Reset", tuning.reset);
  const play = button("Play with this model", async () => {
    await model.use(session.trained);
    location.hash = "play";
  });
  return {
    element: h("div", { class: "transport" }, start, step, reset, play),
    draw() {
      start.textContent = !tuning.going ? "Tune" : session.paused ? "Go on" : "Pause";
      start.disabled = session.reward === "pairs" && session.pairs.length < ENOUGH;
      step.disabled = start.disabled;
      reset.disabled = !tuning.going && !session.seen.length;
      play.disabled = !session.trained;
    },
  };
}

/** The dials, live: a change counts from the next step on.
 * @param {Model} _ @param {Tuning} tuning */
function dialsOf(_, tuning) {
  const { session } = tuning;
  /** @param {"beta" | "lr" | "replay"} name @param {number[]} values
   * @param {{label: string, hint: string, show?: (i: number) => string}} options */
  const one = (name, values, options) =>
    dial({
      min: 0,
      max: values.length - 1,
      step: 1,
      value: session[name],
      show: (i) => String(values[i]),
      turned(i) {
        session[name] = i;
        tuning.turned();
      },
      ...options,
    });
  const beta = one("beta", BETAS, {
    label: "β",
    hint: "What it costs to leave the model before: the greater, the nearer it stays.",
  });
  const lr = one("lr", RATES, {
    label: "learning rate",
    hint: "How far a step goes; it falls to 0 by the last.",
  });
  const replay = one("replay", SHARES, {
    label: "replay",
    hint: "How much of each step is names that it knew before.",
    show: (i) => `${100 * SHARES[i]} %`,
  });
  return {
    element: h("div", { class: "knobs" }, beta.element, replay.element, lr.element),
    draw() {
      beta.element.hidden = session.reward === "examples";
      replay.element.hidden = !beta.element.hidden;
      replay.set(session.replay);
      beta.set(session.beta);
      lr.set(session.lr);
    },
  };
}

/** Two names to choose between. @param {Model} model @param {Tuning} tuning */
function chooserOf(model, tuning) {
  const { session } = tuning;
  let seed = Math.floor(Math.random() * 2 ** 31);
  /** @type {string[]} */
  let two = [];
  const count = h("small", { role: "status" });
  const buttons = [0, 1].map((i) =>
    h("button", { type: "button", class: "candidate", onclick: () => choose(i) }, "…"),
  );
  const neither = h("button", { type: "button", class: "quiet", onclick: ask }, "Neither");
  const title = h("h2", {}, "Which do you like better?");
  const element = h("section", { class: "chooser" }, title, ...buttons, neither, count);
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const which = ["ArrowLeft", "ArrowRight"].indexOf(event.key);
    if (which < 0) return;
    event.preventDefault();
    choose(which);
  });

  async function ask() {
    const names = await model.ask("names", { prefix: "", count: 6, seed: seed++, temperature: 1 });
    const different = [...new Set(names.map((/** @type {any} */ n) => n.name))].filter(Boolean);
    two = /** @type {string[]} */ (different.slice(0, 2));
    for (const [i, button] of buttons.entries()) button.textContent = two[i];
    tuning.changed();
  }

  /** @param {number} i */
  function choose(i) {
    if (two.length < 2) return;
    session.pairs.push([two[i], two[1 - i]]);
    two = [""]; // until the next are there, a key that is held down chooses nothing
    ask();
  }

  return {
    element,
    draw() {
      element.hidden = session.reward !== "pairs";
      if (!element.hidden && !two.length) {
        two = [""]; // it is asked once
        ask();
      }
      const made = session.pairs.length;
      const next =
        made < ENOUGH
          ? `; ${ENOUGH - made} more to begin`
          : made < PLENTY
            ? `; it shows in its names after some ${PLENTY}`
            : "";
      count.textContent = `${made} choice${made === 1 ? "" : "s"}${next}. Arrow keys choose, too.`;
    },
  };
}

/** @param {Tuning} tuning */
function headlineOf({ session }) {
  const element = h("p", { class: "headline wide", role: "status" });
  return {
    element,
    draw() {
      const { about, seen, error, preparing, reward } = session;
      if (error) return put(element, h("span", { class: "wrong" }, error));
      if (!about) {
        const percent = Math.round(100 * preparing);
        const wait = `A model learns sums first, half of them wrong: ${percent} %`;
        const ready = reward === "pairs" ? "Choose a few times, then press Tune." : "Press Tune.";
        return put(element, preparing ? wait : `${ready} The dials also turn while it learns.`);
      }
      const last = seen.at(-1) ?? {};
      put(
        element,
        h("span", {}, "step ", h("b", { class: "steps" }, seen.length), ` of ${about.steps}`),
        ...Object.keys(MEASURES)
          .filter((name) => name in last && (reward === "pairs" || name !== "entropy"))
          .map((name) =>
            h(
              "span",
              {},
              `${MEASURES[name][0].split(",")[0]} `,
              h("b", { class: name, "data-x": last[name] }, number(last[name], 3)),
            ),
          ),
      );
    },
  };
}

/** Reward against KL: where the run goes, and the most that can be had. @param {Tuning} tuning */
function planeOf({ session }) {
  const drawing = chart({ class: "losses", draw: (wide, tall) => planeDrawn(session, wide, tall) });
  const key = h(
    "p",
    { class: "key" },
    "Dashed: the most reward that a KL can buy, exact, computed from what the model before " +
      "writes. Line: the run, step by step; the dot is now. Where β is small it runs to the right.",
  );
  const element = h("section", { class: "wide" }, h("h2", {}, "What it gains, how far it goes"));
  element.append(drawing.element, key);
  return {
    element,
    draw() {
      element.hidden = !session.about?.frontier.length;
      drawing.paint();
    },
  };
}

/** @param {Session} session @param {number} wide @param {number} tall */
function planeDrawn({ about, seen }, wide, tall) {
  const frontier = about?.frontier ?? [];
  if (!frontier.length) return { parts: [], label: "No run yet" };
  const rewards = [
    ...frontier.map((/** @type {number[]} */ p) => p[1]),
    ...seen.map((s) => s.reward),
  ];
  const low = Math.min(...rewards),
    high = Math.max(...rewards);
  const far = Math.max(
    ...frontier.map((/** @type {number[]} */ p) => p[0]),
    ...seen.map((s) => s.kl),
  );
  const right = Math.max(1, far * 1.1);
  const { x, y, line, frame } = plot(wide, tall, {
    x: {
      from: 0,
      to: right,
      ticks: ticks(0, right, step(right)),
      title: "KL to the model before, nats/document",
      show: (v) => number(v, 1),
    },
    y: {
      from: low - 0.05 * (high - low),
      to: high + 0.05 * (high - low),
      ticks: ticks(low, high, step(high - low)),
      title: "reward",
      show: (v) => number(v, 2),
    },
  });
  const path = seen.map((s) => /** @type {[number, number]} */ ([s.kl, s.reward]));
  const now = path.at(-1);
  const parts = [
    ...frame,
    svg("path", { class: "frontier", d: line(frontier) }),
    svg("path", { class: "way", d: line(path) }),
    now && svg("circle", { class: "here", cx: x(now[0]), cy: y(now[1]), r: 6 }),
  ];
  const said = now ? `reward ${number(now[1], 3)} at KL ${number(now[0], 2)}` : "no step yet";
  return { parts, label: `Reward against KL: ${said}` };
}

/** A step for some four ticks of a range. @param {number} range */
function step(range) {
  const rough = Math.max(range, 1e-6) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 2.5, 5].find((by) => by * power >= rough) ?? 10);
}

/** What it writes now, coloured by how much likelier that has become. @param {Tuning} tuning */
function writtenOf({ session }) {
  const list = h("ul", { class: "written" });
  const key = h(
    "p",
    { class: "key" },
    "After each: log π/π₀, how much likelier it is than the model before would make it (nats). " +
      "Blue: likelier. Orange: less likely. Before: the same draws.",
  );
  const element = h("section", {}, h("h2", {}, "What it writes now"), list, key);
  return {
    element,
    draw() {
      element.hidden = !session.written.length;
      const items = session.written.map(([text, ratio], i) =>
        h(
          "li",
          { class: ratio < 0 ? "minus" : "plus", "--v": Math.min(1, Math.abs(ratio) / FULL) },
          h("span", {}, text || END),
          h("small", { "data-x": ratio }, signed(ratio)),
          session.seen.length > 0 &&
            h("span", { class: "before" }, `before: ${session.first[i][0] || END}`),
        ),
      );
      put(list, ...items);
    },
  };
}

/** @param {number} x */
function signed(x) {
  const digits = x.toFixed(1);
  return digits === "0.0" || digits === "-0.0" ? "0" : `${x < 0 ? "" : "+"}${number(x, 1)}`;
}

/** All sums: the likeliest answer is right, or wrong. @param {Tuning} tuning */
function sumsOf({ session }) {
  const grid = svg("svg", { class: "sums", viewBox: "-1.4 -1.4 21.6 21.6", role: "img" });
  const said = h("p", { class: "key" });
  const element = h("section", {}, h("h2", {}, "Which sums it gets right"), grid, said);
  return {
    element,
    draw() {
      element.hidden = !session.sums.length;
      const cells = session.sums.flatMap((row, a) =>
        row.map((state, b) =>
          svg(
            "rect",
            {
              ...{ x: b + 0.05, y: a + 0.05, width: 0.9, height: 0.9, rx: 0.15 },
              class: `${state & 1 ? "right" : "wrong"}${state & 2 ? " held-out" : ""}`,
            },
            svg("title", {}, `${a} + ${b}: ${state & 1 ? "right" : "wrong"}`),
          ),
        ),
      );
      const marks = [0, 5, 10, 15].flatMap((i) => [
        svg("text", { x: i + 0.5, y: -0.4 }, i),
        svg("text", { x: -0.7, y: i + 0.8 }, i),
      ]);
      put(grid, ...cells, ...marks);
      const all = session.sums.flat();
      const held = all.filter((state) => state & 2);
      const right = held.filter((state) => state & 1).length;
      const text = `${right} of ${held.length} sums right that no run has learned from`;
      grid.setAttribute("aria-label", text);
      said.textContent = `${text} (ringed). Row plus column; blue is right.`;
    },
  };
}

/** One small chart for each thing measured. @param {Tuning} tuning */
function stripsOf({ session }) {
  const charts = Object.keys(MEASURES).map((name) => ({
    name,
    ...chart({ class: "measure", draw: (wide, tall) => stripDrawn(session, name, wide, tall) }),
  }));
  const element = h("div", { class: "strips wide" }, ...charts.map((each) => each.element));
  return {
    element,
    draw() {
      element.hidden = !session.seen.length;
      for (const { name, element: drawing, paint } of charts) {
        drawing.toggleAttribute("hidden", !(name in (session.seen[0] ?? {})));
        paint();
      }
    },
  };
}

/** @param {Session} session @param {string} name @param {number} wide @param {number} tall */
function stripDrawn({ about, seen }, name, wide, tall) {
  const [title, range] = MEASURES[name];
  const numbers = seen.map((s) => s[name] ?? 0);
  const [low, high] = range ?? [Math.min(...numbers), Math.max(...numbers)];
  const room = (high - low || 1) * 0.08;
  const by = step(high - low || 1);
  const { line, frame } = plot(wide, tall, {
    x: { from: 0, to: about?.steps ?? 1, ticks: [0, about?.steps ?? 1], title: "steps" },
    y: {
      from: low - room,
      to: high + room,
      ticks: ticks(low, high, by),
      title,
      show: (v) => number(v, Number.isInteger(by) ? 0 : 2),
    },
  });
  const points = numbers.map((v, i) => /** @type {[number, number]} */ ([i + 1, v]));
  const now = numbers.at(-1);
  const parts = [...frame, svg("path", { class: "line", d: line(points) })];
  return { parts, label: `${title}: ${now === undefined ? "nothing yet" : number(now, 3)}` };
}

export default { render };
