// Edit: change a line of gpt.py, run both, and see the first number that moves.
import { chart, plot, ticks } from "../chart.mjs";
import { h, number, once, put, svg } from "../draw.mjs";
import { editorOf } from "../editor.mjs";
import { runner } from "../runner.mjs";
import { word } from "../word.mjs";

/** @typedef {import("../app.mjs").Model} Model */

/**
 * A change worth a look, and what scripts/ablations.py measured of it on names held out.
 * @typedef {{title: string, from: string, to: string, why: string, yours: number[],
 *   differences: number[]}} Idea
 * @typedef {{ideas: Idea[], ours: number[], looks: number[], names: number, seeds: number}}
 *   Measured
 */

/**
 * What is edited and what came of it; it outlives the screen.
 * @typedef {object} Work
 * @property {string} source
 * @property {Idea | null} idea  the change that the source holds, and no other
 * @property {string} trained  the model whose reading is shown
 * @property {any} about  the run's first event: how many steps, how long it may be silent
 * @property {any} parted  where the two part
 * @property {[number, number][]} pairs  the loss of each, step by step
 * @property {{step: number, held_out: [number, number], said: [string[], string[]]}[]} looks
 * @property {string} error
 * @property {boolean} done
 */

const WELCOME =
  "Change a line on the left, or try one of the changes above. You will see the first line " +
  "and the " +
  "first number that differ, then how both versions learn from scratch.";
const WAIT = 5; // seconds of silence, after which the page counts down
const NOISE = 0.008; // nats/token: smaller differences come with the seed, whatever the code
const LITTLE = 0.03; // nats/token
const KEPT = 0.97; // of the running mean, at each step

/** @type {Promise<Measured> | null} */
let fetched = null;

/** Return the changes to try, as they were measured on names. @returns {Promise<Measured>} */
function measured() {
  fetched ??= fetch("ablations.json")
    .then((answer) => answer.json())
    .then(({ ideas, tasks, looks, held_out: names, seeds }) => ({
      ...{ looks, names, seeds, ours: tasks.names.ours },
      ideas: ideas
        .filter((/** @type {any} */ idea) => clear(idea.measured.names?.differences ?? []))
        .map((/** @type {any} */ idea) => ({ ...idea, ...idea.measured.names })),
    }));
  return fetched;
}

/** Whether all seeds say the same of a change: that it is worse, or that it does not matter.
 * @param {number[]} differences */
function clear(differences) {
  const worse = differences.filter((x) => x > NOISE).length;
  const same = differences.filter((x) => Math.abs(x) < NOISE).length;
  return differences.length > 0 && Math.max(worse, same) === differences.length;
}

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { source, config } = model.get("described");
  const original = source.trimEnd();
  /** @type {Measured | null} */
  let known = null;

  const bench = benchOf(model, original, once(draw));
  const { work } = bench;
  const editor = editorOf("gpt.py, yours to change", original, changed, begin);
  const label = "The name that both read";
  const longest = config.block_size - 1;
  const read = word({ model, params, label, caption: "on", longest, heard() {} });
  const toggle = () => (bench.going ? bench.stop() : begin());
  const keys = { class: "strong", title: "Ctrl+Enter" };
  const start = h("button", { type: "button", ...keys, onclick: toggle });
  const undo = h("button", { type: "button", onclick: () => take(original, null) }, "Undo all");
  const ideas = h("span", { class: "ideas", role: "group", "aria-label": "Changes worth a look" });
  const results = resultsOf();
  const lead = "Change a line. Both versions read the same name; then both learn.";
  el.append(
    h("div", { class: "bar-top" }, h("h1", {}, "Edit"), h("p", { class: "lead" }, lead)),
    h("div", { class: "transport" }, start, undo, read.element, ideas),
    h("div", { class: "pair" }, editor.element, results.element),
  );

  /** @param {string} text */
  function changed(text) {
    const same = (/** @type {Idea} */ idea) => original.replace(idea.from, idea.to) === text;
    work.source = text;
    work.idea = known?.ideas.find(same) ?? null;
    draw();
  }

  /** Put another source in the place of what is there.
   * @param {string} text @param {Idea | null} idea */
  function take(text, idea) {
    bench.clear();
    Object.assign(work, { source: text, idea });
    editor.set(text, idea && original.slice(0, original.indexOf(idea.from)).split("\n").length);
    draw();
  }

  function begin() {
    bench.start(read.text);
  }

  function draw() {
    start.textContent = bench.going ? "Stop" : "Run both";
    undo.disabled = work.source === original;
    results.show(work, known, { going: bench.going, silent: bench.silent, text: read.text });
  }

  /** @param {Measured} found */
  function offer(found) {
    known = found;
    const button = (/** @type {Idea} */ idea) => {
      const onclick = () => {
        take(original.replace(idea.from, idea.to), idea);
        begin();
      };
      return h("button", { type: "button", onclick }, idea.title);
    };
    put(ideas, "try ", ...found.ideas.map(button));
    changed(work.source);
  }

  editor.set(work.source, work.source === original ? 126 : null);
  draw();
  const clock = setInterval(() => bench.going && draw(), 1000);
  measured().then(offer);
  return () => {
    clearInterval(clock);
    bench.stop();
  };
}

/** What is edited, and the run of both versions.
 * @param {Model} model @param {string} original @param {() => void} paint */
function benchOf(model, original, paint) {
  /** @type {Work} */
  const work = model.get("edit") ?? { source: original, idea: null, ...nothing() };
  const { trained = "" } = model.get("described");
  if (work.trained !== trained) Object.assign(work, nothing(), { trained }); // it was another's
  model.set("edit", work);
  const run = runner(model, "edit", hear);
  let heardAt = 0;

  /** @param {any} event */
  function hear(event) {
    heardAt = performance.now();
    if (event.error) work.error = event.error;
    if (event.silence) work.about = event;
    if (event.line) work.parted = event;
    if (event.pair) work.pairs.push(event.pair);
    if (event.held_out) work.looks.push(event);
    if (event.done) work.done = true;
    paint();
  }

  /** Let both read a name and learn, in place of a run that goes on. @param {string} text */
  async function start(text) {
    clear();
    heardAt = performance.now();
    const over = run.start({ source: work.source, text });
    paint();
    try {
      const mine = await over;
      const whole = work.done || work.parted?.failed || work.error;
      if (mine && !whole) work.error = "The run ended before its time.";
    } finally {
      paint();
    }
  }

  function stop() {
    run.stop();
    paint();
  }

  function clear() {
    run.stop();
    Object.assign(work, nothing());
  }

  return {
    work,
    start,
    stop,
    clear,
    get going() {
      return run.going;
    },
    /** @returns {number} seconds since the run last said something */
    get silent() {
      return run.going ? (performance.now() - heardAt) / 1000 : 0;
    },
  };
}

/** What no run has said yet. @returns {Omit<Work, "source" | "idea" | "trained">} */
function nothing() {
  return { about: null, parted: null, pairs: [], looks: [], error: "", done: false };
}

function resultsOf() {
  const hint = h("p", { class: "hint" });
  const judged = h("p", { class: "judged" });
  const verdict = h("div", { class: "verdict-box", role: "status" });
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const countdown = h("p", { class: "countdown" });
  /** @type {{work: Work, known: Measured | null} | null} */
  let now = null;
  const losses = chart({
    class: "losses",
    draw: (wide, tall) => lossesOf(/** @type {any} */ (now).work, now?.known ?? null, wide, tall),
  });
  const key = h("p", { class: "key" });
  const names = h("div", { class: "two" });
  /** @type {any} what the verdict shows: it is said once */
  let said = "";
  return {
    element: h(
      "div",
      { class: "results", tabindex: 0, role: "region", "aria-label": "What changed" },
      ...[hint, judged, verdict, wrong, countdown, losses.element, key, names],
    ),
    /** @param {Work} work @param {Measured | null} known
     * @param {{going: boolean, silent: number, text: string}} run */
    show(work, known, { going, silent, text }) {
      now = { work, known };
      const begun = going || work.parted || work.error;
      hint.textContent = work.idea?.why ?? (begun ? "" : WELCOME);
      put(judged, ...(work.idea && known ? judgement(work.idea, known) : []));
      const shown = work.parted ?? (going ? `Both read “${text}”, line by line …` : "");
      if (shown !== said) put(verdict, ...(work.parted ? verdictOf(work.parted) : [shown]));
      said = shown;
      wrong.textContent = work.error;
      wrong.hidden = !work.error;
      countdown.textContent = waiting(work, silent);
      const empty = !work.pairs.length && !work.idea;
      losses.element.classList.toggle("empty", empty);
      if (!empty) losses.paint();
      key.textContent = empty ? "" : keyOf(work, known);
      put(names, ...namesOf(work));
    },
  };
}

/** Say how long a silent run is waited for. @param {Work} work @param {number} silent  seconds */
function waiting({ about }, silent) {
  if (!about || silent < WAIT) return "";
  const left = Math.max(0, Math.ceil(about.silence - silent));
  return (
    `Nothing for ${Math.floor(silent)} s. Does a loop never end? The run is stopped in ` +
    `${left} s.`
  );
}

/** Say whether a change matters, as it was measured. @param {Idea} idea @param {Measured} known */
function judgement({ yours, differences }, { ours, looks, names, seeds }) {
  const mean = differences.reduce((sum, x) => sum + x, 0) / seeds;
  const worse = mean > LITTLE ? "Worse" : "A little worse";
  const verdict = differences.every((x) => x > NOISE)
    ? `${worse}, with each of ${seeds} seeds:`
    : "It makes no difference here:";
  const signed = (/** @type {number} */ x) => `${x > 0 ? "+" : ""}${number(x)}`;
  return [
    h("b", {}, verdict),
    ` after ${looks.at(-1)?.toLocaleString("en")} steps the loss on ${names} held-out names is `,
    h("b", { class: "yours", "data-x": yours.at(-1) }, number(yours.at(-1) ?? 0)),
    `, and gpt.py's is ${number(ours.at(-1) ?? 0)} nats/token `,
    h("span", { class: "spread" }, `(seed by seed: ${differences.map(signed).join(", ")}).`),
  ];
}

/** @param {any} event */
function verdictOf({ line, number: moved, same, failed, losses }) {
  if (failed) {
    const where = failed.line ? `, in line ${failed.line}` : "";
    return [h("p", { class: "wrong" }, `${failed.message}${where}`)];
  }
  if (same)
    return [
      h(
        "p",
        { class: "hint" },
        "With the trained weights the two agree on this name, line by line and number by number.",
      ),
    ];
  const place = (/** @type {any} */ p, /** @type {string} */ sign) =>
    p &&
    h(
      "pre",
      { class: sign === "+" ? "plus" : "minus" },
      h("code", {}, `${sign} ${String(p.line).padStart(3)}  ${p.code}`),
    );
  const at = moved && (moved.at_b ?? moved.at_a);
  const value = (/** @type {number | null} */ x) => (x === null ? "not there" : number(x, 5));
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
        h("b", { "data-a": moved.a }, value(moved.a)),
        ", is ",
        h("b", { class: "yours", "data-b": moved.b }, value(moved.b)),
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
        " nats/token",
      ),
  ];
}

/** @param {Work} work */
function namesOf({ looks }) {
  const last = looks.at(-1);
  if (!last) return [];
  return ["gpt.py", "yours"].map((who, i) =>
    h(
      "div",
      { class: i ? "yours" : "" },
      h("h2", {}, `${who} says after ${last.step} steps`),
      h("p", {}, last.said[i].map((/** @type {string} */ n) => n || "–").join("  ")),
    ),
  );
}

/** Say what the chart's lines are. @param {Work} work @param {Measured | null} known */
function keyOf({ about, idea }, known) {
  const beforehand =
    idea && known
      ? ` Dashed: measured beforehand, ${known.names} names held out, the mean of ` +
        `${known.seeds} seeds.`
      : "";
  const names = about ? ` Diamonds: ${about.names} names held out, never learned from.` : "";
  return `Lines: the running mean of the names that both learn from.${names}${beforehand}`;
}

/** The losses of both: as they learn here, and as they were measured beforehand.
 * @param {Work} work @param {Measured | null} known @param {number} wide @param {number} tall */
function lossesOf(work, known, wide, tall) {
  const total = work.about?.steps ?? known?.looks.at(-1) ?? 1000;
  const lines = [0, 1].map((which) => running(work.pairs.map((pair) => pair[which])));
  const before = work.idea && known ? [known.ours, work.idea.yours] : [];
  const seen = [...lines.flat(), ...before.flat(), ...work.looks.flatMap((look) => look.held_out)];
  const low = Math.floor(Math.min(2.4, ...seen) * 5) / 5 - 0.2,
    top = Math.min(4.5, Math.max(3.4, ...seen));
  const whole = (/** @type {number} */ step) => step.toLocaleString("en");
  const { frame, line, x, y } = plot(wide, tall, {
    x: { from: 0, to: total, ticks: ticks(0, total, total / 4), title: "steps", show: whole },
    y: { from: low, to: top, ticks: ticks(low, top, 0.5), title: "loss, nats/token" },
  });
  const who = ["ours", "yours"];
  const parts = who.flatMap((name, which) => [
    svg("path", {
      class: `beforehand ${name}`,
      d: line((before[which] ?? []).map((loss, i) => [known?.looks[i] ?? 0, loss])),
    }),
    svg("path", { class: `line ${name}`, d: line(lines[which].map((loss, i) => [i + 1, loss])) }),
    ...work.looks.map(({ step, held_out }) => {
      const loss = held_out[which];
      return svg(
        "path",
        { class: `val ${name}`, "data-x": loss, d: `M${x(step)} ${y(loss) - 5}l5 5l-5 5l-5 -5z` },
        svg("title", {}, `held out, step ${step}: ${loss.toFixed(3)} nats/token`),
      );
    }),
  ]);
  const last = lines.map((line) => line.at(-1) ?? 0);
  const label = work.pairs.length
    ? `Loss after ${work.pairs.length} steps: gpt.py ${number(last[0])}, yours ${number(last[1])}`
    : "Losses of both versions";
  return { parts: [...frame, ...parts, ...labels(lines, before, { x, y }, known)], label };
}

/** Write who is who at the ends of two lines, apart.
 * @param {number[][]} lines  as they learn @param {number[][]} before  as it was measured
 * @param {{x: (step: number) => number, y: (loss: number) => number}} at
 * @param {Measured | null} known */
function labels(lines, before, { x, y }, known) {
  const [own, theirs] = [0, 1].map((which) => (before[which] ?? lines[which]).at(-1));
  if (own === undefined || theirs === undefined) return [];
  const step = before.length ? (known?.looks.at(-1) ?? 0) : lines[0].length;
  const side = step > 200 ? "end" : "";
  const over = -12,
    under = 22;
  return [
    svg("text", { x: x(step), y: y(own) + (own > theirs ? over : under), class: side }, "gpt.py"),
    svg(
      "text",
      { x: x(step), y: y(theirs) + (own > theirs ? under : over), class: `${side} yours-text` },
      "yours",
    ),
  ];
}

/** The running mean of numbers, at each. @param {number[]} numbers */
function running(numbers) {
  let mean = 0;
  return numbers.map((x, i) => {
    const keep = Math.min(i / (i + 1), KEPT);
    mean = keep * mean + (1 - keep) * x;
    return mean;
  });
}

export default { render };
