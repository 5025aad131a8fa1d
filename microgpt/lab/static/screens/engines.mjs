// Engines: one model, several ways to run it; how far apart their numbers are, how fast they come,
// and how few bits will do.
import { h, letter, number, once, put, remember } from "../draw.mjs";
import { word } from "../word.mjs";
import { bits } from "./bits.mjs";

/**
 * What an engine makes of a text, or why it will not.
 * @typedef {{text: string, refused?: string, what: string, logits: number[][], loss: number,
 *   microseconds: number, cartridge?: string, integers?: number[][]}} Answer
 * @typedef {Answer & {name: string, form?: string}} Row  form: the Qm.n that its numbers are in
 */

const SMALLEST = -17; // the power of ten that a difference bar begins at

const LEAD =
  "One model, its arithmetic done in different ways. The guess is the same; what differs is " +
  "how soon it comes, and which digits are left.";

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { vocabulary } = model.get("described");
  const { present, missing } = model.get("host");
  const basis = "scalar"; // the measure of the others
  /** @type {string[]} */
  const names = [basis, ...present.filter((/** @type {string} */ name) => name !== basis)];
  /** @type {Map<string, Answer>} */
  const answers = new Map();
  let round = 0,
    pos = 0,
    asked = "";

  const field = word({
    model,
    params,
    label: "The name that all read",
    caption: "All read",
    heard: () => {
      pos = 0;
      measure();
    },
  });
  const tabs = h("div", { class: "positions", role: "group", "aria-label": "Positions" });
  const table = h("div", { class: "engine-list" });
  const paint = once(draw);
  const panel = bits({ model, params, text: () => field.text, turned: keep });
  el.append(
    h(
      "div",
      { class: "bar-top" },
      h("h1", {}, "Engines"),
      field.element,
      tabs,
      h("button", { type: "button", onclick: measure }, "Measure again"),
    ),
    h("p", { class: "lead" }, LEAD),
    table,
    notHere(missing),
    panel.element,
  );

  /** Ask one engine after the other: each is shown as soon as it has answered. */
  async function measure() {
    const mine = ++round,
      { text } = field;
    keep();
    for (asked of names) {
      paint();
      const answer = await model.ask("engine", { name: asked, text });
      if (mine !== round) return;
      answers.set(asked, { ...answer, text });
    }
    asked = "";
    paint();
    const fixed = answers.get("fixed");
    if (fixed && !fixed.refused) panel.measure(); // now that nothing else is being timed
  }

  function keep() {
    remember(el, { text: field.text, ...panel.form });
    paint();
  }

  /** @param {number} chosen */
  function turn(chosen) {
    pos = chosen;
    draw();
  }

  function draw() {
    const tokens = [vocabulary.length, ...[...field.text].map((c) => vocabulary.indexOf(c))];
    const { block_size: size } = model.get("described").config;
    put(
      tabs,
      ...tokens.slice(0, size).map((token, i) => tab(token, vocabulary, i === pos, () => turn(i))),
    );
    const rows = names.flatMap((name) => row(name, answers.get(name), panel));
    put(
      table,
      ...names.map((name) => {
        const found = rows.find((r) => r.name === name);
        if (!found) return waiting(name, answers.get(name)?.refused, name === asked);
        return section(found, rows, pos, vocabulary, found.text !== field.text);
      }),
    );
  }

  measure();
  return () => {
    round++;
    panel.stop();
  };
}

/**
 * What there is to show of an engine, if it has answered.
 * @param {string} name @param {Answer | undefined} answer @param {ReturnType<typeof bits>} panel
 * @returns {Row[]}
 */
function row(name, answer, panel) {
  if (!answer || answer.refused) return [];
  if (name !== "fixed") return [{ ...answer, name }];
  const { m, n } = panel.form;
  const own = panel.fixed?.text === answer.text && panel.fixed;
  return [{ ...answer, ...own, name, form: own ? `Q${m}.${n}` : "Q8.8" }];
}

/** @param {number} token @param {string} vocabulary @param {boolean} current
 * @param {() => void} chosen */
function tab(token, vocabulary, current, chosen) {
  return h(
    "button",
    { type: "button", class: "position", "aria-current": current && "true", onclick: chosen },
    h("b", {}, letter(token, vocabulary, "BOS")),
  );
}

/** The engines that are missing, and how to get them. @param {Record<string, string>} missing */
function notHere(missing) {
  const rows = Object.entries(missing);
  return h(
    "section",
    { class: "absent", hidden: !rows.length },
    h("h2", {}, "Not here"),
    h("dl", {}, ...rows.flatMap(([name, reason]) => [h("dt", {}, name), h("dd", {}, reason)])),
  );
}

/** An engine without an answer.
 * @param {string} name @param {string | undefined} refused @param {boolean} asked */
function waiting(name, refused, asked) {
  const doing = name === "snes" ? "building a cartridge of this model …" : "reading the name …";
  return h(
    "section",
    { class: "engine", "aria-busy": !refused && "true" },
    h("h2", { class: "engine-name" }, name),
    h("p", { class: "key", role: "status" }, refused ?? (asked ? doing : "waiting for its turn")),
  );
}

/** One engine beside the one that is the measure of all.
 * @param {Row} row @param {Row[]} rows @param {number} pos @param {string} vocabulary
 * @param {boolean} stale */
function section(row, rows, pos, vocabulary, stale) {
  const [basis] = rows;
  const others = row !== basis && basis.name === "scalar" && row.text === basis.text;
  const at = Math.min(pos, row.logits.length - 1);
  const most = Math.max(...rows.flatMap((r) => (r.logits[at] ?? []).map(Math.abs)), 1e-9);
  const apart = others ? row.logits[at].map((z, i) => Math.abs(z - basis.logits[at][i])) : null;
  return h(
    "section",
    { class: stale ? "engine outdated" : "engine" },
    facts(row),
    h(
      "div",
      { class: "engine-bars" },
      pace(row, basis, Math.max(...rows.map((r) => r.microseconds))),
      scores(row.logits[at], apart, most, vocabulary),
      h("p", { class: "key" }, ...verdict(row, apart, at, pos)),
    ),
  );
}

/** @param {Row} row */
function facts({ name, what, microseconds, loss, form, cartridge }) {
  const of = form ? `in ${form}` : cartridge && `${cartridge} cartridge`;
  return h(
    "div",
    {},
    h("h2", { class: "engine-name" }, name, of && h("small", {}, ` ${of}`)),
    h("p", { class: "key" }, what),
    h(
      "dl",
      {},
      h("dt", {}, "a token"),
      h("dd", {}, h("b", {}, microseconds.toFixed(microseconds >= 100 ? 0 : 1)), " µs"),
      h("dt", {}, "loss (nats a token)"),
      h("dd", { class: "its-loss", "data-x": loss }, loss.toFixed(8)),
    ),
  );
}

/** @param {Row} row @param {Row} basis @param {number} slowest */
function pace(row, basis, slowest) {
  const times = basis.microseconds / row.microseconds;
  const many = (/** @type {number} */ x) =>
    x >= 10 ? Math.round(x).toLocaleString("en") : x.toFixed(1);
  return h(
    "div",
    {
      class: "pace",
      role: "img",
      "aria-label": `${row.microseconds.toFixed(1)} microseconds a token`,
    },
    h("i", { "--p": Math.max(0.002, row.microseconds / slowest) }),
    h(
      "small",
      {},
      row === basis
        ? "the measure of the others"
        : times >= 1
          ? `${many(times)} times as fast`
          : `${many(1 / times)} times as slow`,
    ),
  );
}

/** Logits as bars, and below each, how far it is from the measure's.
 * @param {number[]} logits @param {number[] | null} apart @param {number} most
 * @param {string} vocabulary */
function scores(logits, apart, most, vocabulary) {
  const said = logits.map((z, i) => `${letter(i, vocabulary)} ${number(z, 2)}`).join(", ");
  return h(
    "div",
    { class: "engine-scores", role: "img", "aria-label": `Logits: ${said}` },
    ...logits.map((z, i) =>
      h(
        "div",
        { class: "score", title: `${letter(i, vocabulary)}: ${number(z, 6)}` },
        h(
          "span",
          { class: z < 0 ? "logit minus" : "logit", "data-x": z, "--v": Math.abs(z) / most },
          h("i"),
        ),
        apart && h("span", { class: "apart", "data-x": apart[i], "--v": depth(apart[i]) }, h("i")),
        h("b", {}, letter(i, vocabulary, "·")),
      ),
    ),
  );
}

/** @param {number} distance */
function depth(distance) {
  return distance ? Math.max(0.02, (Math.log10(distance) - SMALLEST) / -SMALLEST) : 0;
}

/** What the numbers come to, in words.
 * @param {Row} row @param {number[] | null} apart @param {number} at @param {number} pos */
function verdict(row, apart, at, pos) {
  const largest = Math.max(...(apart ?? []));
  const own = row.integers?.every((line, t) => line.every((z, i) => z === row.logits[t][i]));
  return [
    apart === null
      ? "Bars: the logit of each letter that may come next. "
      : largest === 0
        ? "Not one bit differs from scalar. "
        : "Below: the distance to scalar, as powers of ten; the largest is " +
          `${largest.toExponential(1).replace("-", "−")}. `,
    row.integers &&
      h(
        "b",
        { class: "own" },
        `${own ? "Not one bit differs" : "It differs"} from the ${row.cartridge} cartridge's ` +
          "own integers, computed in Python. ",
      ),
    at < pos && `It sees ${row.logits.length} positions, no more: this is the last of them.`,
  ];
}

export default { render };
