// Engines: one model, several ways to run it; how far apart their numbers are, how fast they come, and
// how few bits will do.
import { dial, h, latest, letter, number, once, put, remember, svg } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */
/** @typedef {{name: string, what: string, logits: number[][], loss: number, microseconds: number}} Told */
/** @typedef {{m: number, n: number, loss: number, choosing: number, saturations: number}} Point */

const SMALLEST = -17; // the power of ten that a difference bar begins at
const REGISTER = 16; // bits
const WIDE = 720,
  TALL = 320,
  LEFT = 40,
  BOTTOM = 30,
  TOP = 3.6; // of the chart of bits, in its own units; and its highest loss

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { config, vocabulary } = model.get("described");
  const { absent } = model.get("host");
  let text = params.text ?? "emma",
    pos = 0;
  const form = { m: Number(params.m ?? 8), n: Number(params.n ?? 8) };
  /** @type {Told[]} */
  let told = [];
  /** @type {{logits: number[][], loss: number, saturations: number, refused?: string} | null} what fixed makes of the name in Qm.n */
  let fixed = null;
  /** @type {any} what the points were measured on */
  let about = null;
  /** @type {Point[]} */
  const points = [];
  /** @type {AbortController | null} */
  let measuring = null;

  const name = h("input", {
    type: "text",
    value: text,
    maxlength: config.block_size,
    "aria-label": "The name that all read",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    onchange: () => {
      text = name.value.toLowerCase().trim();
      pos = 0;
      ask({ text });
    },
  });
  const tabs = h("div", { class: "positions", role: "group", "aria-label": "Positions" });
  const table = h("div", { class: "engine-list" });
  const before = dial({
    label: "m, before the point",
    min: 1,
    max: REGISTER - 1,
    step: 1,
    value: form.m,
    hint: "How large a number can be: the sign, and m − 1 bits.",
    turned: (m) => turn(m, Math.min(form.n, REGISTER - m)),
  });
  const behind = dial({
    label: "n, behind it",
    min: 1,
    max: REGISTER - 1,
    step: 1,
    value: form.n,
    hint: "How fine it is: steps of 1/2ⁿ.",
    turned: (n) => turn(Math.min(form.m, REGISTER - n), n),
  });
  const headline = h("p", { class: "headline", role: "status" });
  const chart = svg("svg", {
    class: "losses",
    viewBox: `0 0 ${WIDE} ${TALL}`,
    role: "img",
    "aria-label": "Loss against bits, not measured yet",
  });
  const key = h("p", { class: "key" });
  const bits = h(
    "section",
    { class: "bits", hidden: true },
    h(
      "div",
      {},
      h("h2", { class: "engine-name" }, "How few bits?"),
      h(
        "p",
        { class: "key" },
        "The integer engine keeps every number, the weights and all that is computed of them, in Qm.n: m bits before the point, n behind, 16 at most. " +
          "Sums of products have 32 bits; what does not fit is clamped. exp and 1/√ are tables of 256 entries; logits leave it in 256ths.",
      ),
      before.element,
      behind.element,
    ),
    h("div", {}, headline, chart, key),
  );
  el.append(
    h(
      "div",
      { class: "bar-top" },
      h("h1", {}, "Engines"),
      h("label", { class: "read" }, h("span", {}, "All read"), name),
      tabs,
      h("button", { type: "button", onclick: () => ask({ text }) }, "Measure again"),
    ),
    h(
      "p",
      { class: "lead" },
      "One model, its arithmetic done in different ways. The guess is the same; what differs is how soon it comes, and which digits are left.",
    ),
    table,
    h(
      "p",
      { class: "key", hidden: !absent.length },
      `Not here: ${absent.join(", ")}. `,
      h("code", {}, "microgpt engines"),
      ", where microgpt is installed, tells how to get them.",
    ),
    bits,
  );

  const paint = once(draw);
  const ask = latest(
    (/** @type {{text: string}} */ q) => model.ask("engines", q),
    (answer) => {
      told = answer;
      bits.hidden = !told.some((t) => t.name === "fixed");
      turn(form.m, form.n);
      if (!bits.hidden) measure();
    },
  );
  const askFixed = latest(
    (/** @type {object} */ q) => model.ask("fixed", q),
    (answer) => {
      fixed = answer;
      paint();
    },
  );

  /** @param {number} m @param {number} n */
  function turn(m, n) {
    Object.assign(form, { m, n });
    before.set(m);
    behind.set(n);
    remember(el, { text, ...form });
    fixed = null;
    if (!bits.hidden) askFixed({ text, ...form });
    paint();
  }

  /** Measure each Qm.n on names held out, once a visit: the server remembers. */
  async function measure() {
    if (measuring) return;
    measuring = new AbortController();
    bits.setAttribute("aria-busy", "true");
    await model.run(
      "bits",
      {},
      (event) => {
        if (event.error) throw new Error(event.error);
        if (event.float) about = event;
        if (event.m) points.push(event);
        paint();
      },
      measuring.signal,
    );
    bits.setAttribute("aria-busy", "false");
  }

  function draw() {
    if (!told.length) return;
    const tokens = [vocabulary.length, ...[...text].map((c) => vocabulary.indexOf(c))].slice(
      0,
      told[0].logits.length,
    );
    put(
      tabs,
      ...tokens.map((token, i) =>
        h(
          "button",
          {
            type: "button",
            class: "position",
            "aria-current": i === pos,
            onclick: () => {
              pos = i;
              draw();
            },
          },
          h("b", {}, letter(token, vocabulary, "BOS")),
        ),
      ),
    );
    const basis = told.find((t) => t.name === "scalar") ?? told[0];
    const all = told.map((t) =>
      t.name === "fixed" && fixed && !fixed.refused ? { ...t, ...fixed } : t,
    );
    const most = Math.max(...all.flatMap((t) => t.logits[pos].map(Math.abs)), 1e-9);
    const slowest = Math.max(...all.map((t) => t.microseconds));
    put(
      table,
      ...[basis, ...all.filter((t) => t.name !== basis.name)].map((t) => {
        const apart = t.logits[pos].map((z, i) => Math.abs(z - basis.logits[pos][i]));
        const largest = Math.max(...apart);
        const times = basis.microseconds / t.microseconds;
        return h(
          "section",
          { class: "engine" },
          h(
            "div",
            {},
            h(
              "h2",
              { class: "engine-name" },
              t.name,
              t.name === "fixed" &&
                fixed &&
                !fixed.refused &&
                h("small", {}, ` in Q${form.m}.${form.n}`),
            ),
            h("p", { class: "key" }, t.what),
            h(
              "dl",
              {},
              h("dt", {}, "a token"),
              h(
                "dd",
                {},
                h(
                  "b",
                  {},
                  t.microseconds >= 100 ? t.microseconds.toFixed(0) : t.microseconds.toFixed(1),
                ),
                " µs",
              ),
              h("dt", {}, "loss"),
              h("dd", { class: "its-loss", "data-x": t.loss }, t.loss.toFixed(8)),
            ),
          ),
          h(
            "div",
            { class: "engine-bars" },
            h(
              "div",
              {
                class: "pace",
                role: "img",
                "aria-label": `${t.microseconds.toFixed(1)} microseconds a token`,
              },
              h("i", { "--p": Math.max(0.002, t.microseconds / slowest) }),
              h(
                "small",
                {},
                t === basis
                  ? "the measure of the others"
                  : times >= 1
                    ? `${times >= 10 ? Math.round(times).toLocaleString("en") : times.toFixed(1)} times as fast`
                    : `${(1 / times).toFixed(1)} times as slow`,
              ),
            ),
            h(
              "div",
              {
                class: "engine-scores",
                role: "img",
                "aria-label": `Logits: ${t.logits[pos].map((z, i) => `${letter(i, vocabulary)} ${number(z, 2)}`).join(", ")}`,
              },
              ...t.logits[pos].map((z, i) =>
                h(
                  "div",
                  { class: "score", title: `${letter(i, vocabulary)}: ${number(z, 6)}` },
                  h(
                    "span",
                    {
                      class: z < 0 ? "logit minus" : "logit",
                      "data-x": z,
                      "--v": Math.abs(z) / most,
                    },
                    h("i"),
                  ),
                  t !== basis &&
                    h(
                      "span",
                      {
                        class: "apart",
                        "data-x": apart[i],
                        "--v": apart[i]
                          ? Math.max(0.02, (Math.log10(apart[i]) - SMALLEST) / -SMALLEST)
                          : 0,
                      },
                      h("i"),
                    ),
                  h("b", {}, letter(i, vocabulary, "·")),
                ),
              ),
            ),
            t !== basis &&
              h(
                "p",
                { class: "key" },
                largest === 0
                  ? `Not one bit differs from ${basis.name}.`
                  : `Below: the distance to ${basis.name}, as powers of ten; the largest is ${largest.toExponential(1).replace("-", "−")}.`,
              ),
          ),
        );
      }),
    );
    drawBits();
  }

  /** The loss on names held out against bits, and where the dials stand. */
  function drawBits() {
    const here = points.find((p) => p.m === form.m && p.n === form.n);
    const clamped = (/** @type {number} */ count) =>
      count ? `${count.toLocaleString("en")} results clamped` : "nothing clamped";
    put(
      headline,
      h("span", {}, h("b", {}, `Q${form.m}.${form.n}`), ` ${form.m + form.n} bits`),
      here &&
        h(
          "span",
          {},
          "loss ",
          h("b", { class: "held-out", "data-x": here.loss }, here.loss.toFixed(4)),
          ` on ${about.names} names, `,
          h("span", { class: "clamped", "data-x": here.saturations }, clamped(here.saturations)),
        ),
      fixed &&
        (fixed.refused
          ? h("span", { class: "refused" }, fixed.refused)
          : h(
              "span",
              {},
              "on ",
              h("i", {}, text || "nothing"),
              ` ${fixed.loss.toFixed(4)}, ${clamped(fixed.saturations)}`,
            )),
    );
    if (!about) return put(chart);
    const low = about.float - 0.14;
    const x = (/** @type {number} */ width) =>
      LEFT + 12 + ((WIDE - LEFT - 32) * (width - 2)) / (REGISTER - 2);
    const y = (/** @type {number} */ loss) =>
      8 + ((TALL - BOTTOM - 8) * (TOP - Math.min(loss, TOP))) / (TOP - low);
    const ticks = [],
      best = [];
    for (let loss = Math.ceil(low * 5) / 5; loss <= TOP; loss += 0.2) ticks.push(loss);
    for (let width = 2; width <= REGISTER; width++) {
      // chosen on other names than those shown
      const splits = points
        .filter((p) => p.m + p.n === width)
        .sort((a, b) => a.choosing - b.choosing);
      if (splits.length) best.push(splits[0]);
    }
    put(
      chart,
      ...ticks.flatMap((loss) => [
        svg("path", { class: "tick", d: `M${LEFT} ${y(loss)}H${WIDE}` }),
        svg("text", { x: LEFT - 6, y: y(loss) + 4, class: "end" }, loss.toFixed(1)),
      ]),
      ...Array.from({ length: REGISTER - 1 }, (_, i) =>
        svg("text", { x: x(i + 2), y: TALL - 8, class: "middle" }, i + 2),
      ),
      ...[about.uniform, about.float].map((loss) =>
        svg("path", { class: "known", d: `M${LEFT} ${y(loss)}H${WIDE}` }),
      ),
      svg(
        "text",
        { x: WIDE - 4, y: y(about.uniform) - 5, class: "end" },
        `knowing nothing ${about.uniform.toFixed(4)}`,
      ),
      svg(
        "text",
        { x: LEFT + 4, y: y(about.float) + 24 },
        `in floating point ${about.float.toFixed(4)}`,
      ), // no dot comes there
      ...points.map((p) =>
        svg(
          "circle",
          {
            class: "split",
            cx: x(p.m + p.n),
            cy: y(p.loss),
            r: 3.5,
            onpointerdown: () => turn(p.m, p.n),
          },
          svg("title", {}, `Q${p.m}.${p.n}: ${p.loss.toFixed(4)}, ${clamped(p.saturations)}`),
        ),
      ),
      best.length > 1 &&
        svg("path", {
          class: "line",
          d: `M${best.map((p) => `${x(p.m + p.n).toFixed(1)} ${y(p.loss).toFixed(1)}`).join("L")}`,
        }),
      here && svg("circle", { class: "here", cx: x(form.m + form.n), cy: y(here.loss), r: 7 }),
    );
    chart.setAttribute(
      "aria-label",
      `Loss against bits. ${best.map((p) => `${p.m + p.n} bits: ${p.loss.toFixed(3)} in Q${p.m}.${p.n}`).join("; ")}`,
    );
    key.textContent =
      `Bits, and the loss on ${about.names} names of the built-in list${about.unseen ? " that the model has not learned from" : ""}. A dot: one way to divide the bits; press it to choose it. ` +
      "Line: the best of each width, chosen on other names. What could leave 32 bits is not drawn; a dot at the top edge is worse still.";
  }

  ask({ text });
  return () => measuring?.abort();
}

export default { render };
