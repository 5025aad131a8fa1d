// Training: a run in a process of its own, seen as it learns. It goes on while other screens are
// shown.
import { chart, plot, ticks } from "../chart.mjs";
import { dial, h, letter, number, once, put, remember, svg } from "../draw.mjs";
import { runner } from "../runner.mjs";
import { explained } from "../terms.mjs";

/** @typedef {import("../app.mjs").Model} Model */

/**
 * What a run is to be. @typedef {{data: string, engine: string, steps: number, batch: number,
 *   lr: number, seed: number, val: number, n_layer: number, n_embd: number, n_head: number}} Wish
 */

/**
 * A run and what it has shown; it outlives the screen.
 * @typedef {object} Session
 * @property {Wish} wish
 * @property {string} list  the user's own, where that is what it learns from
 * @property {number} speed  which of SPEEDS
 * @property {(string | number)[]} follow  the number that is followed: its matrix, row and column
 * @property {any} about  what the run said of itself
 * @property {number[]} losses
 * @property {number[]} smooth  their running mean
 * @property {[number, number][]} val  steps, and the loss of the names held out
 * @property {any[]} looks
 * @property {number} shown  the look that is scrubbed to; -1 is the last
 * @property {string} trained  the model as it is now, where it rests
 * @property {string} error
 * @property {boolean} paused
 * @property {boolean} done
 */

/** @type {Record<string, string>} */
const NAMES = {
  world: "names of the world",
  names: "published names",
  own: "a list of your own",
};
/** What the select elements offer: a label, and values.
 * @type {Record<string, [string, number[]]>} */
const CHOICES = {
  steps: ["Steps", [200, 500, 1000, 3000, 10000]],
  batch: ["Batch", [1, 2, 4, 8, 16, 32]],
  lr: ["Learning rate", [0.001, 0.003, 0.01, 0.03, 0.1]],
  n_layer: ["Layers", [1, 2, 3]],
  n_embd: ["Width", [8, 16, 32, 64]],
  n_head: ["Heads", [1, 2, 4, 8]],
  seed: ["Seed", [42, 43, 44]],
};
const FOLLOWED = ["lm_head", "wte", "wpe", "layer0.attn_wq", "layer0.mlp_fc1", "layer0.mlp_fc2"];
const SPEEDS = [1, 3, 10, 30, 100, 300, null]; // steps a second; the last as fast as it goes
const KEPT = 0.98; // of the running mean, at each step
const DOTS = 1200; // at most, in the chart
const LETTER = 0.13; // of the map's half: what a letter takes

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const training = trainingOf(model, params);
  const { session } = training;
  const top = [transportOf(model, training), choicesOf(model.get("host"), training, chosen)];
  const views = [lossesOf, namesOf, mapOf, sizesOf].map((view) => view(training));
  const parts = [...top, ...views, followedOf(training)];
  const lead = explained(
    "Guess, measure the {loss}, move every {number|parameter} a little against its " +
      "{gradient}. And again.",
  );
  el.append(
    h("div", {}, h("h1", {}, "Training"), h("p", { class: "lead" }, ...lead)),
    ...top.map((part) => part.element),
    h("div", { class: "run" }, ...parts.slice(top.length).map((part) => part.element)),
  );

  function chosen() {
    training.reset();
    remember(el, { ...session.wish });
  }
  const draw = once(() => {
    for (const part of parts) part.draw();
  });
  training.watch(draw);
  el.addEventListener("keydown", (event) => key(event, training));
  remember(el, { ...session.wish });
  draw();
  return () => training.watch(null);
}

/** What an address asks for, and what it leaves open.
 * @param {Record<string, string>} params @param {{engines: string[], data: string[]}} host
 * @returns {Wish} */
function wishOf(params, { engines, data }) {
  return {
    data: [...data, "own"].includes(params.data) ? params.data : data[0],
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
}

/** The page's training: the one that there is, unless the address asks for another.
 * @param {Model} model @param {Record<string, string>} params */
function trainingOf(model, params) {
  const kept = model.get("training");
  const wish = wishOf({ ...kept?.session.wish, ...params }, model.get("host"));
  if (kept && JSON.stringify(wish) === JSON.stringify(kept.session.wish)) return kept;
  kept?.reset();
  const training = create(model, wish);
  model.set("training", training);
  return training;
}

/** What no run has shown yet. */
function nothing() {
  const none = { losses: [], smooth: [], val: [], looks: [] };
  return { about: null, ...none, shown: -1, trained: "", error: "", paused: false, done: false };
}

/** A run of the page's, from its beginning to its end, watched or not.
 * @param {Model} model @param {Wish} wish */
function create(model, wish) {
  /** @type {Session} */
  const session = {
    ...{ wish, list: "", speed: SPEEDS.indexOf(100), follow: [FOLLOWED[0], 0, 0] },
    ...nothing(),
  };
  const run = runner(model, "training", hear);
  /** @type {(() => void) | null} */
  let draw = null;

  function changed() {
    const { about, losses, done } = session;
    const percent = about && run.going ? Math.floor((100 * losses.length) / about.steps) : null;
    model.set("busy", percent === null || done ? "" : `${percent}%`);
    draw?.();
  }

  /** @param {any} event */
  function hear(event) {
    if (event.error) session.error = event.error;
    if (event.steps) session.about = event;
    for (const loss of event.losses ?? []) {
      const before = session.smooth.at(-1) ?? loss;
      const keep = Math.min(session.losses.length / (session.losses.length + 1), KEPT);
      session.losses.push(loss);
      session.smooth.push(keep * before + (1 - keep) * loss);
      session.trained = "";
    }
    if (event.val_loss !== undefined) session.val.push([event.step, event.val_loss]);
    if (event.points) session.looks.push({ names: session.looks.at(-1)?.names, ...event });
    if (event.model) session.trained = event.model;
    if (event.done) session.done = true;
    changed();
  }

  /** Begin, in place of what there was. @param {boolean} [paused] */
  async function start(paused = false) {
    reset();
    session.paused = paused;
    const { list, speed, follow, wish: asked } = session;
    const own = asked.data === "own" ? { list } : {};
    const over = run.start({ ...asked, ...own, follow, paused, speed: SPEEDS[speed] });
    changed();
    await over.finally(changed);
  }

  function reset() {
    run.stop();
    Object.assign(session, nothing());
    changed();
  }

  /** @param {boolean} paused */
  function pause(paused) {
    Object.assign(session, { paused, shown: -1 });
    run.command({ paused });
    changed();
  }

  return {
    session,
    start,
    reset,
    pause,
    changed,
    command: run.command,
    /** Take a step: begin, or pause, where there is none to take yet. */
    step() {
      if (!run.going) return start(true);
      return session.paused ? run.command({ step: 1 }) : pause(true);
    },
    /** Draw what changes with this, or nothing. @param {(() => void) | null} how */
    watch(how) {
      draw = how;
    },
    get going() {
      return run.going && !session.done;
    },
  };
}

/** @typedef {ReturnType<typeof create>} Training */

/** Space plays and pauses, an arrow steps.
 * @param {KeyboardEvent} event @param {Training} training */
function key(event, training) {
  const target = /** @type {HTMLElement} */ (event.target);
  const typing = target.matches("input, select, button, textarea");
  if (event.altKey || event.ctrlKey || event.metaKey || typing) return;
  if (event.key === " ") toggle(training);
  else if (event.key === "ArrowRight") training.step();
  else return;
  event.preventDefault();
}

/** @param {Training} training */
function toggle(training) {
  if (!training.going) training.start();
  else training.pause(!training.session.paused);
}

/** The buttons, the speed, and the way to the other screens.
 * @param {Model} model @param {Training} training */
function transportOf(model, training) {
  const { session } = training;
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, more = {}) =>
    h("button", { type: "button", onclick, ...more }, text);
  const start = button("Train", () => toggle(training), { class: "strong" });
  const step = button("Step", () => training.step(), { title: "One step" });
  const reset = button("Reset", () => training.reset());
  const play = button("Play with this model", async () => {
    await model.use(session.trained);
    location.hash = "play";
  });
  const speed = dial({
    label: "Speed",
    min: 0,
    max: SPEEDS.length - 1,
    step: 1,
    value: session.speed,
    show: (i) => (SPEEDS[i] ? `${SPEEDS[i]} steps/s` : "full"),
    turned(i) {
      session.speed = i;
      training.command({ speed: SPEEDS[i] });
    },
  });
  return {
    element: h("div", { class: "transport" }, start, step, reset, speed.element, play),
    draw() {
      start.textContent = !training.going ? "Train" : session.paused ? "Go on" : "Pause";
      start.disabled = step.disabled = session.wish.data === "own" && !session.list.trim();
      reset.disabled = !training.going && !session.losses.length;
      play.disabled = !session.trained;
    },
  };
}

/** What the run is to be, and the list that the user gives it.
 * @param {{engines: string[], data: string[]}} host @param {Training} training
 * @param {() => void} chosen */
function choicesOf(host, training, chosen) {
  const { session } = training;
  /** @type {any} */
  const wish = session.wish;
  /** @param {string} name @param {string} label @param {(string | number)[]} values */
  const choice = (name, label, values) => {
    const onchange = (/** @type {any} */ { target: { value } }) => {
      wish[name] = typeof values[0] === "number" ? Number(value) : value;
      chosen();
    };
    const options = [...new Set([...values, wish[name]])].map((value) =>
      h("option", { value, selected: value === wish[name] }, NAMES[value] ?? value),
    );
    const select = h("select", { "data-key": name, onchange }, ...options);
    return h("label", { class: "choice" }, h("span", {}, label), select);
  };
  const area = h("textarea", {
    rows: 6,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "none",
    placeholder: "one name a line",
    oninput() {
      session.list = area.value;
      training.reset();
    },
  });
  area.value = session.list;
  const count = h("small", { role: "status" });
  const list = h(
    "label",
    { class: "choice own" },
    h("span", {}, "Your list, one name a line"),
    area,
  );
  return {
    element: h(
      "div",
      { class: "choices", role: "group", "aria-label": "The run; a change begins another" },
      choice("data", "Data", [...host.data, "own"]),
      choice("engine", "Engine", host.engines),
      ...Object.entries(CHOICES).map(([name, [label, values]]) => choice(name, label, values)),
      h("div", { class: "list" }, list, count),
    ),
    draw() {
      const own = wish.data === "own";
      const lines = new Set(session.list.split(/\r\n|\r|\n/).map((line) => line.trim()));
      lines.delete("");
      list.parentElement.hidden = !own;
      count.textContent = own ? `${lines.size.toLocaleString("en")} different names` : "";
    },
  };
}

/** The look that is shown, and after how many steps it was. @param {Session} session */
function lookOf({ looks, shown, losses }) {
  const look = shown < 0 ? looks.at(-1) : looks[shown];
  return { look, at: look && shown >= 0 ? look.at : losses.length };
}

/** The losses so far: a headline, a chart, what they mean, and the way back through them.
 * @param {Training} training */
function lossesOf({ session, changed }) {
  const headline = h("p", { class: "headline", role: "status" });
  const verdict = h("div", { class: "verdict-box", role: "status" });
  const key = h("p", { class: "key" });
  const drawing = chart({
    class: "losses",
    draw: (wide, tall) => chartOf(session, wide, tall),
  });
  const scrub = h("input", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    "aria-label": "Look back through the run",
    oninput() {
      session.shown = Number(scrub.value) === session.looks.length - 1 ? -1 : Number(scrub.value);
      changed();
    },
  });
  const back = h("label", { class: "scrub" }, h("span", {}, "Look back"), scrub);
  let judged = false;
  return {
    element: h("section", { class: "wide" }, headline, drawing.element, key, verdict, back),
    draw() {
      put(headline, ...headlineOf(session));
      const held = !session.about || session.about.held_out > 0;
      key.textContent = `Dots: each step. Line: their running mean. ${
        held
          ? "Diamonds and dotted lines: names held out, never learned from."
          : "The list is too short to hold names out: dotted lines are of those it learns from."
      }`;
      if (judged !== session.done) put(verdict, ...(session.done ? verdictOf(session) : []));
      judged = session.done;
      scrub.max = Math.max(0, session.looks.length - 1);
      scrub.value = session.shown < 0 ? scrub.max : session.shown;
      back.hidden = session.looks.length < 2;
      drawing.paint();
    },
  };
}

/** @param {Session} session */
function headlineOf(session) {
  const { about, wish, val, losses, smooth, error } = session;
  if (error) return [h("span", { class: "wrong" }, error)];
  if (!about) return ["Press Train: a model begins from noise, in a process of its own."];
  const { at } = lookOf(session);
  const held = val.filter(([step]) => step <= at).at(-1);
  const loss = at ? number(smooth[at - 1], 3) : "–";
  const steps = [
    h("b", { class: "steps" }, at.toLocaleString("en")),
    ` of ${(about.steps ?? wish.steps).toLocaleString("en")}`,
  ];
  return [
    h("span", {}, "step ", ...steps),
    about.held_out > 0 &&
      h(
        "span",
        {},
        "loss held out ",
        h("b", { class: "held-out", "data-x": held?.[1] }, held ? number(held[1], 3) : "–"),
      ),
    h("span", {}, "learning ", h("b", { class: "loss", "data-x": losses[at - 1] }, loss)),
    h("span", {}, `${about.n_params.toLocaleString("en")} numbers · engine ${about.engine}`),
  ];
}

/** What the loss means, in the words of `microgpt train`. @param {Session} session */
function verdictOf({ about, val, losses }) {
  const last = losses.slice(-50);
  const own = val.at(-1)?.[1] ?? last.reduce((sum, x) => sum + x, 0) / last.length;
  const of = about.held_out
    ? `Loss on ${about.held_out} held-out documents (nats/token)`
    : `Loss (nats/token) over the last ${last.length} steps, on documents that it learns from`;
  const tokens = about.vocabulary.length + 1;
  const rows = /** @type {[string, number][]} */ ([
    [`knowing nothing: ${tokens} tokens, all equally likely`, about.uniform],
    ["counting pairs of characters", about.bigram],
    ["this model", own],
  ]);
  const better = about.bigram - own;
  const much = number(Math.abs(better), 3);
  return [
    h("h2", {}, of),
    h(
      "dl",
      { class: "verdict" },
      ...rows.flatMap(([what, x]) => [h("dd", { "data-x": x }, x.toFixed(4)), h("dt", {}, what)]),
    ),
    h(
      "p",
      {},
      better > 0
        ? `The model beats counting pairs by ${much} nats/token.`
        : `Counting pairs is better by ${much} nats/token: train for longer.`,
    ),
  ];
}

/** @param {Session} session @param {number} wide @param {number} tall */
function chartOf(session, wide, tall) {
  const { about, wish, losses, smooth, val } = session;
  const { at } = lookOf(session);
  const total = about?.steps ?? wish.steps;
  const first = losses.length ? Math.max(...losses.slice(0, 20)) : 3.4;
  const top = Math.max(3.6, Math.min(6, first + 0.1)),
    low = Math.min(1.9, ...smooth.map((loss) => loss - 0.1));
  const whole = (/** @type {number} */ step) => Math.round(step).toLocaleString("en");
  const { frame, level, line, x, y } = plot(wide, tall, {
    x: { from: 0, to: total, ticks: ticks(0, total, total / 4), title: "steps", show: whole },
    y: { from: low, to: top, ticks: ticks(low, top, 0.5), title: "loss, nats/token" },
  });
  const stride = Math.max(1, Math.floor(losses.length / DOTS));
  const every = (/** @type {number[]} */ numbers) =>
    numbers
      .slice(0, at)
      .map((loss, i) => /** @type {[number, number]} */ ([i + 1, loss]))
      .filter((_, i) => i % stride === 0);
  const dots = every(losses).map(
    ([step, loss]) => `M${x(step).toFixed(1)} ${y(loss).toFixed(1)}h0`,
  );
  const uniform = about?.uniform ?? Math.log(27);
  const parts = [
    ...frame,
    ...level(uniform, `knowing nothing ${uniform.toFixed(3)}`),
    ...(about ? level(about.bigram, `counting pairs ${about.bigram.toFixed(3)}`, "below") : []),
    svg("path", { class: "dots", d: dots.join("") }),
    svg("path", { class: "line", d: line(every(smooth)) }),
    ...val
      .filter(([step]) => step <= at)
      .map(([step, loss]) =>
        svg(
          "path",
          { class: "val", "data-x": loss, d: `M${x(step)} ${y(loss) - 5}l5 5l-5 5l-5 -5z` },
          svg("title", {}, `held out, step ${step}: ${loss.toFixed(4)} nats/token`),
        ),
      ),
  ];
  const label = losses.length
    ? `Loss ${number(smooth[at - 1] ?? 0, 3)} after ${at} steps`
    : "Loss over the steps, empty as yet";
  return { parts, label };
}

/** @param {Training} training */
function namesOf({ session }) {
  const names = h("ul", { class: "six" });
  const element = h("section", {}, h("h2", {}, "Names it makes now"), names);
  return {
    element,
    draw() {
      const { look } = lookOf(session);
      element.hidden = !look;
      const items = (look?.names ?? []).map((/** @type {string} */ n) => n || "(the end at once)");
      put(names, ...items.map((/** @type {string} */ text) => h("li", {}, text)));
    },
  };
}

/** The embeddings of the letters, on a plane. @param {Training} training */
function mapOf({ session }) {
  const plane = svg("svg", {
    class: "plane",
    viewBox: "-1.12 -1.12 2.24 2.24",
    role: "img",
    "aria-label": "The letters' embeddings, on the plane in which they differ most",
  });
  const key = h("p", { class: "key" });
  const element = h("section", {}, h("h2", {}, "Where the letters lie"), plane, key);
  return {
    element,
    draw() {
      const { look } = lookOf(session);
      element.hidden = !look;
      if (!look) return put(plane);
      const far = Math.max(...look.points.flat().map(Math.abs), 1e-9);
      const { vocabulary } = session.about;
      const points = look.points.map((/** @type {number[]} */ [a, b]) => [a / far, -b / far]);
      const at = apart(points, LETTER);
      put(
        plane,
        ...points.map((/** @type {number[]} */ [a, b], /** @type {number} */ i) =>
          svg("path", { class: "way", d: `M${a} ${b}L${at[i][0]} ${at[i][1]}` }),
        ),
        ...at.map(([a, b], token) => {
          const text = letter(token, vocabulary, "BOS");
          const kind = "aeiou".includes(text) ? "vowel" : text === "BOS" ? "bos" : "";
          return svg("text", { x: a.toFixed(3), y: b.toFixed(3), class: kind }, text);
        }),
      );
      key.textContent =
        `wte, ${session.wish.n_embd} numbers a letter, on the plane where they differ most ` +
        "(PCA): " +
        "near are alike, the axes have no unit. Vowels are blue.";
    },
  };
}

/** Push points apart until none is nearer to another than it may be, or nearly.
 * @param {number[][]} points @param {number} least @returns {number[][]} */
export function apart(points, least) {
  const at = points.map(([x, y], i) => [x + 1e-4 * Math.cos(i), y + 1e-4 * Math.sin(i)]);
  for (let round = 0; round < 60; round++) {
    let moved = false;
    for (let i = 0; i < at.length; i++) {
      for (let j = 0; j < i; j++) {
        const dx = at[i][0] - at[j][0],
          dy = at[i][1] - at[j][1];
        const far = Math.hypot(dx, dy);
        if (far >= least) continue;
        const push = (least - far) / 2 / Math.max(far, 1e-9);
        at[i] = [at[i][0] + dx * push, at[i][1] + dy * push];
        at[j] = [at[j][0] - dx * push, at[j][1] - dy * push];
        moved = true;
      }
    }
    if (!moved) break;
  }
  return at;
}

/** @param {Training} training */
function sizesOf({ session }) {
  const norms = h("div", { class: "norms" });
  const title = h("h2", {}, "How large each gradient is");
  const key = h("p", { class: "key" }, "L2 norm of each matrix's gradient, for the step to come.");
  const element = h("section", {}, title, norms, key);
  return {
    element,
    draw() {
      const { look } = lookOf(session);
      element.hidden = !look;
      const sizes = /** @type {[string, number][]} */ (Object.entries(look?.norms ?? {}));
      const most = Math.max(...sizes.map(([, x]) => x), 1e-9);
      const row = (/** @type {[string, number]} */ [name, x]) =>
        h(
          "div",
          { class: "norm" },
          h("code", {}, name),
          h("i", { "--p": x / most }),
          h("span", { "data-x": x }, number(x, 3)),
        );
      put(norms, ...sizes.map(row));
    },
  };
}

/** One number, and what moves it. @param {Training} training */
function followedOf({ session, command }) {
  const select = h(
    "select",
    {
      "aria-label": "The parameter to follow",
      onchange() {
        session.follow = [select.value, 0, 0];
        command({ follow: session.follow });
      },
    },
    ...FOLLOWED.map((name) =>
      h("option", { value: name, selected: name === session.follow[0] }, `${name}[0][0]`),
    ),
  );
  const list = h("dl", { class: "followed" });
  const key = h(
    "p",
    { class: "key" },
    "The gradient is in nats/token for each unit of the number.",
  );
  const title = h("h2", {}, "One number, as Adam moves it");
  const element = h("section", {}, title, select, list, key);
  return {
    element,
    draw() {
      const { look } = lookOf(session);
      element.hidden = !look;
      if (!look) return put(list);
      const { value, grad, m, v, update } = look.followed;
      const rows = {
        value,
        gradient: grad,
        "m, smoothed": m,
        "v, its square": v,
        "next update": update,
      };
      put(
        list,
        ...Object.entries(rows).flatMap(([term, x]) => [
          h("dt", {}, term),
          h("dd", { "data-x": x }, number(x, 5)),
        ]),
      );
    },
  };
}

export default { render };
