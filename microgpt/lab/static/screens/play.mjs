// Play: type a beginning; the model guesses the next letter; dials reshape its guess; names.
import { dial, h, latest, letter, number, percent, put, remember } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { vocabulary, config, n_params: size, documents } = model.get("described");
  const end = vocabulary.length;
  const state = {
    text: params.text ?? "ma",
    temperature: Number(params.temperature ?? 0.7),
    top_k: Number(params.top_k ?? end + 1),
    top_p: Number(params.top_p ?? 1),
    seed: Number(params.seed ?? 42),
  };

  const input = h("input", {
    class: "beginning",
    type: "text",
    value: state.text,
    maxlength: config.block_size,
    "aria-label": "The beginning of a name",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    oninput: typed,
  });
  const under = h("div", { class: "under", "aria-hidden": "true" });
  const surprise = h("p", { class: "said", role: "status" });
  const bars = Array.from({ length: end + 1 }, (_, token) => {
    const name = token === end ? "the end" : letter(token, vocabulary);
    const bar = h(
      "button",
      { class: "bar", type: "button", "data-token": token, onclick: () => add(token) },
      h("span", { class: "share", "aria-hidden": "true" }),
      h("span", { class: "column" }, h("i", { class: "raw" }), h("i", { class: "now" })),
      h("span", { class: token === end ? "letter end" : "letter" }, letter(token, vocabulary)),
    );
    bar.dataset.name = name;
    return bar;
  });
  const top = h("span", { class: "top" });
  const names = h("ol", { class: "names" });
  const seed = h("input", {
    type: "number",
    min: 0,
    max: 999999999,
    value: state.seed,
    id: "seed",
    oninput: () => {
      state.seed = Math.max(0, Math.floor(Number(seed.value) || 0));
      changed();
    },
  });

  const dials = [
    dial({
      label: "Temperature",
      min: 0,
      max: 2,
      step: 0.05,
      value: state.temperature,
      show: (x) => x.toFixed(2),
      hint: "Divides the logits: low is safe, high is wild, 1 is as learned.",
      turned: (x) => {
        state.temperature = x;
        changed();
      },
    }),
    dial({
      label: "Top-k",
      min: 1,
      max: end + 1,
      step: 1,
      value: state.top_k,
      show: (x) => (x > end ? "all" : String(x)),
      hint: "Only the k likeliest tokens may come.",
      turned: (x) => {
        state.top_k = x;
        changed();
      },
    }),
    dial({
      label: "Top-p",
      min: 0.05,
      max: 1,
      step: 0.05,
      value: state.top_p,
      show: (x) => (x === 1 ? "all" : x.toFixed(2)),
      hint: "Only the likeliest that together reach p.",
      turned: (x) => {
        state.top_p = x;
        changed();
      },
    }),
  ];

  el.append(
    h(
      "div",
      { class: "opening" },
      h("h1", {}, "Begin a name"),
      h(
        "p",
        { class: "lead" },
        `${size.toLocaleString("en")} numbers have read `,
        `${documents.toLocaleString("en")} names, letter by letter. `,
        "Type a beginning, and they guess what comes next.",
      ),
    ),
    h(
      "div",
      { class: "stage" },
      h("div", { class: "typing" }, input, under, surprise),
      h(
        "div",
        { class: "guess" },
        h("h2", {}, "The next letter"),
        h(
          "div",
          {
            class: "bars",
            role: "group",
            "aria-label": "How likely each letter is to come next; press one to add it",
          },
          top,
          ...bars,
        ),
        h(
          "p",
          { class: "key" },
          h("i", { class: "now" }),
          " after the dials ",
          h("i", { class: "raw" }),
          " as learned",
        ),
      ),
    ),
    h(
      "aside",
      { class: "dials", "aria-label": "Sampling" },
      h("h2", {}, "Dials"),
      ...dials.map((d) => d.element),
      h(
        "p",
        { class: "seed" },
        h("label", { for: "seed" }, "Seed"),
        seed,
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              state.seed = Math.floor(Math.random() * 1e6);
              seed.value = state.seed;
              changed();
            },
          },
          "Another",
        ),
      ),
      h("p", { class: "small" }, "The same seed gives the same names."),
    ),
    h(
      "section",
      { class: "made", "aria-label": "Names" },
      h("h2", {}, "Names it makes of this"),
      names,
      h(
        "p",
        { class: "key" },
        "Under each letter: how likely it was to be drawn. Press a name to take it apart.",
      ),
    ),
  );

  function question() {
    return {
      temperature: state.temperature,
      top_k: state.top_k > end ? null : state.top_k,
      top_p: state.top_p === 1 ? null : state.top_p,
    };
  }

  function typed() {
    const known = [...input.value.toLowerCase()].filter((c) => vocabulary.includes(c)).join("");
    if (known !== input.value) input.value = known;
    state.text = known;
    changed();
  }

  /** @param {number} token */
  function add(token) {
    if (token === end) {
      // the name is finished: another may begin
      state.text = "";
    } else if (state.text.length < config.block_size) {
      state.text += vocabulary[token];
    }
    input.value = state.text;
    changed();
  }

  const askNext = latest((/** @type {object} */ q) => model.ask("next", q), showNext);
  const askNames = latest((/** @type {object} */ q) => model.ask("names", q), showNames);

  function changed() {
    askNext({ text: state.text, ...question() });
    askNames({ prefix: state.text, count: 12, seed: state.seed, ...question() });
    remember(el, { ...state });
  }

  /** @param {any} answer @param {any} asked */
  function showNext(answer, asked) {
    put(
      under,
      ...answer.letters.map((/** @type {number} */ p, /** @type {number} */ i) =>
        h(
          "span",
          { "--p": p, "data-p": p, title: `${asked.text[i]}: ${percent(p)}` },
          h("i"),
          h("b", {}, p < 0.01 ? "<1%" : `${Math.round(100 * p)}%`),
        ),
      ),
    );
    const chance = answer.letters.reduce(
      (/** @type {number} */ a, /** @type {number} */ p) => a * p,
      1,
    );
    surprise.textContent =
      asked.text === ""
        ? "Before the first letter there is only BOS: it says that a name begins."
        : `To the model, one name in ${Math.max(1, Math.round(1 / chance)).toLocaleString("en")} begins like this.`;
    el.classList.toggle("full", Boolean(answer.full));
    if (answer.full) {
      surprise.textContent = `The model sees ${config.block_size} positions, and they are full.`;
      return;
    }
    const most = Math.max(...answer.chosen, ...answer.probs);
    const scale = [0.125, 0.25, 0.5, 1].find((s) => s >= most) ?? 1;
    top.textContent = percent(scale);
    for (const [token, bar] of bars.entries()) {
      const p = answer.chosen[token];
      bar.style.setProperty("--raw", answer.probs[token] / scale);
      bar.style.setProperty("--now", p / scale);
      bar.dataset.p = p;
      bar.dataset.logit = answer.logits[token];
      bar.classList.toggle("out", p === 0);
      bar.classList.toggle("first", p === Math.max(...answer.chosen));
      bar.firstChild.textContent = p >= 0.02 ? Math.round(100 * p) : "";
      bar.title =
        `${bar.dataset.name}: ${percent(p)} (as learned ${percent(answer.probs[token])}, ` +
        `logit ${number(answer.logits[token], 2)})`;
    }
  }

  /** @param {{name: string, probs: (number | null)[]}[]} answer */
  function showNames(answer) {
    put(
      names,
      ...answer.map(({ name, probs }) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "name",
              "aria-label": name,
              onclick: () => {
                state.text = name;
                input.value = name;
                changed();
                input.focus();
              },
            },
            ...probs.map((p, i) =>
              h(
                "span",
                {
                  class: p === null ? "given" : "drawn",
                  "aria-hidden": "true",
                  "--p": p ?? 0,
                  "data-p": p,
                  title: p === null ? "given" : `${name[i] ?? "the end"}: ${percent(p)}`,
                },
                name[i] ?? "·",
                h("i"),
              ),
            ),
          ),
        ),
      ),
    );
  }

  changed();
  if (matchMedia("(hover: hover)").matches) input.focus();
}

export default { render };
