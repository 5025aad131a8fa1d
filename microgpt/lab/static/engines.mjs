// Engines: one model, several ways to run it; how far apart their numbers are, and how fast they come.
import { h, latest, letter, number, put } from "./draw.mjs";

/** @typedef {import("./app.mjs").Model} Model */
/** @typedef {{name: string, what: string, logits: number[][], loss: number, microseconds: number}} Told */

const SMALLEST = -17;  // the power of ten that a difference bar begins at

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const { config, vocabulary } = model.get("described");
  const params = model.get("params") ?? {};
  let text = params.text ?? "emma", pos = 0;
  /** @type {Told[]} */
  let told = [];

  const name = h("input", { type: "text", value: text, maxlength: config.block_size, "aria-label": "The name that all read", autocomplete: "off",
    autocapitalize: "none", spellcheck: "false", onchange: () => { text = name.value.toLowerCase().trim(); pos = 0; ask({ text }); } });
  const tabs = h("div", { class: "positions", role: "group", "aria-label": "Positions" });
  const table = h("div", { class: "engine-list" });
  el.append(
    h("div", { class: "bar-top" }, h("h1", {}, "Engines"), h("label", { class: "read" }, h("span", {}, "All read"), name), tabs,
      h("button", { type: "button", onclick: () => ask({ text }) }, "Measure again")),
    h("p", { class: "lead" }, "One model, its arithmetic done in different ways. The guess is the same; what differs is how soon it comes, and which digits are left."),
    table);

  const ask = latest((/** @type {{text: string}} */ q) => model.ask("engines", q), (answer) => {
    told = answer;
    model.set("params", { text });
    draw();
  });

  function draw() {
    const tokens = [vocabulary.length, ...[...text].map((c) => vocabulary.indexOf(c))].slice(0, told[0]?.logits.length ?? 1);
    put(tabs, ...tokens.map((token, i) => h("button", { type: "button", class: "position", "aria-current": i === pos, onclick: () => { pos = i; draw(); } },
      h("b", {}, letter(token, vocabulary, "BOS")))));
    const basis = told.find((t) => t.name === "scalar") ?? told[0];
    const most = Math.max(...told.flatMap((t) => t.logits[pos].map(Math.abs)), 1e-9);
    const slowest = Math.max(...told.map((t) => t.microseconds));
    const order = [basis, ...told.filter((t) => t !== basis)];
    put(table, ...order.map((t) => {
      const apart = t.logits[pos].map((z, i) => Math.abs(z - basis.logits[pos][i]));
      const largest = Math.max(...apart);
      const times = basis.microseconds / t.microseconds;
      return h("section", { class: "engine" },
        h("div", {}, h("h2", { class: "engine-name" }, t.name), h("p", { class: "key" }, t.what),
          h("dl", {}, h("dt", {}, "a token"), h("dd", {}, h("b", {}, t.microseconds >= 100 ? t.microseconds.toFixed(0) : t.microseconds.toFixed(1)), " µs"),
            h("dt", {}, "loss"), h("dd", { class: "its-loss", "data-x": t.loss }, t.loss.toFixed(8)))),
        h("div", { class: "engine-bars" },
          h("div", { class: "pace", role: "img", "aria-label": `${t.microseconds.toFixed(1)} microseconds a token` }, h("i", { "--p": Math.max(0.002, t.microseconds / slowest) }),
            h("small", {}, t === basis ? "the measure of the others" : times >= 1 ? `${times >= 10 ? Math.round(times).toLocaleString("en") : times.toFixed(1)} times as fast` : `${(1 / times).toFixed(1)} times as slow`)),
          h("div", { class: "engine-scores", role: "img", "aria-label": `Logits: ${t.logits[pos].map((z, i) => `${letter(i, vocabulary)} ${number(z, 2)}`).join(", ")}` },
            ...t.logits[pos].map((z, i) => h("div", { class: "score", title: `${letter(i, vocabulary)}: ${number(z, 6)}` },
              h("span", { class: z < 0 ? "logit minus" : "logit", "data-x": z, "--v": Math.abs(z) / most }, h("i")),
              t !== basis && h("span", { class: "apart", "data-x": apart[i], "--v": apart[i] ? Math.max(0.02, (Math.log10(apart[i]) - SMALLEST) / -SMALLEST) : 0 }, h("i")),
              h("b", {}, letter(i, vocabulary, "·"))))),
          t !== basis && h("p", { class: "key" }, largest === 0 ? `Not one bit differs from ${basis.name}.`
            : `Below: the distance to ${basis.name}, as powers of ten; the largest is ${largest.toExponential(1).replace("-", "−")}.`)));
    }));
  }

  ask({ text });
}

export default { render };
