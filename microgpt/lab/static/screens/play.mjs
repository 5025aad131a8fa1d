// Play: type a beginning; the model guesses the next letter; dials reshape its guess; names.
import {
  dial,
  focus,
  h,
  latest,
  letter,
  number,
  percent,
  put,
  remember,
  roving,
} from "../draw.mjs";
import { explained } from "../terms.mjs";
import { word } from "../word.mjs";

/** What the dials say.
 * @typedef {{temperature: number, top_k: number, top_p: number, seed: number}} Dials */
/** @typedef {{name: string, probs: (number | null)[]}} Name  a probability of null: the letter was
 *   given */
/** @typedef {{letters: number[], full?: boolean, logits: number[], probs: number[], chosen:
 *   number[]}} Next */

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const { vocabulary, config, n_params: size, documents } = model.get("described");
  const end = vocabulary.length;
  const dials = opening(params, end);
  const field = word({
    model,
    params,
    label: "The beginning of a name",
    fallback: "ma",
    live: true,
    class: "beginning",
    heard: changed,
  });
  const under = h("div", { class: "under", "aria-hidden": "true" });
  field.input.after(under);
  const surprise = h("p", { class: "said", role: "status" });
  const bars = barsOf(vocabulary, (token) =>
    field.take(token === end ? "" : field.text + vocabulary[token]),
  );
  const names = h("ol", { class: "names" });
  el.append(
    h(
      "div",
      { class: "opening" },
      h("h1", {}, "Begin a name"),
      h(
        "p",
        { class: "lead" },
        `${size.toLocaleString("en")} numbers have read `,
        documents ? `${documents.toLocaleString("en")} names, letter by letter. ` : "names. ",
        "Type a beginning, and they guess what comes next.",
      ),
    ),
    h(
      "div",
      { class: "stage" },
      h("div", { class: "typing" }, field.element, surprise),
      bars.element,
    ),
    dialsOf(dials, end, changed),
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

  const askNext = latest(
    (/** @type {any} */ q) => model.ask("next", q),
    (/** @type {Next} */ answer, { text }) => {
      put(under, ...answer.letters.map((p, i) => shareOf(text[i], p)));
      put(surprise, ...explained(answer.full ? full(config) : chance(answer.letters)));
      el.classList.toggle("full", Boolean(answer.full));
      if (!answer.full) bars.draw(answer);
    },
    ...[bars.element, under, surprise],
  );
  const askNames = latest(
    (/** @type {object} */ q) => model.ask("names", q),
    (/** @type {Name[]} */ answer) => put(names, ...answer.map((made) => nameOf(made, choose))),
    names,
  );

  function changed() {
    const { text } = field,
      { seed, temperature } = dials;
    const top_k = dials.top_k > end ? null : dials.top_k,
      top_p = dials.top_p === 1 ? null : dials.top_p;
    askNext({ text, temperature, top_k, top_p });
    askNames({ prefix: text, count: 12, seed, temperature, top_k, top_p });
    remember(el, { text, ...dials });
  }

  /** @param {string} name */
  function choose(name) {
    field.take(name);
    field.input.focus();
  }

  changed();
  focus(el, field.input);
}

/** What the dials say at first: as the address has it.
 * @param {Record<string, string>} params @param {number} end @returns {Dials} */
function opening(params, end) {
  /** @param {string} name @param {number} usual */
  const at = (name, usual) =>
    Number.isFinite(Number(params[name])) ? Number(params[name]) : usual;
  return {
    temperature: at("temperature", 0.7),
    top_k: at("top_k", end + 1),
    top_p: at("top_p", 1),
    seed: at("seed", 42),
  };
}

/** @param {Dials} dials @param {number} end @param {() => void} changed */
function dialsOf(dials, end, changed) {
  /** @param {"temperature" | "top_k" | "top_p"} name @param {any} options */
  const one = (name, options) =>
    dial({
      value: dials[name],
      turned: (x) => {
        dials[name] = x;
        changed();
      },
      ...options,
    }).element;
  return h(
    "aside",
    { class: "dials", "aria-label": "Sampling" },
    h("h2", {}, "Dials"),
    one("temperature", {
      label: "Temperature",
      min: 0,
      max: 2,
      step: 0.05,
      show: (/** @type {number} */ x) => x.toFixed(2),
      hint: (/** @type {number} */ x) =>
        x === 0
          ? "Always the likeliest letter."
          : explained("Divides the {logits|logit}: low is safe, high is wild, 1 is as learned."),
    }),
    one("top_k", {
      label: "Top-k",
      min: 1,
      max: end + 1,
      step: 1,
      show: (/** @type {number} */ x) => (x > end ? "all" : String(x)),
      hint: () => explained("Only the k likeliest {tokens|token} may come."),
    }),
    one("top_p", {
      label: "Top-p",
      min: 0.05,
      max: 1,
      step: 0.05,
      show: (/** @type {number} */ x) => (x === 1 ? "all" : x.toFixed(2)),
      hint: "Only the likeliest that together reach p.",
    }),
    seedOf(dials, changed),
    h("p", { class: "small" }, "The same seed gives the same names."),
  );
}

/** @param {Dials} dials @param {() => void} changed */
function seedOf(dials, changed) {
  /** @param {number} value */
  const choose = (value) => {
    dials.seed = Math.max(0, Math.floor(value || 0));
    changed();
  };
  const seed = h("input", {
    type: "number",
    min: 0,
    max: 999999999,
    value: dials.seed,
    id: "seed",
    oninput: () => choose(Number(seed.value)),
  });
  const another = () => {
    choose(Math.random() * 1e6);
    seed.value = dials.seed;
  };
  return h(
    "p",
    { class: "seed" },
    h("label", { for: "seed" }, "Seed"),
    seed,
    h("button", { type: "button", onclick: another }, "Another"),
  );
}

/** A bar for each token, on one scale, whatever the dials do.
 * @param {string} vocabulary @param {(token: number) => void} add */
function barsOf(vocabulary, add) {
  const end = vocabulary.length;
  const bars = Array.from({ length: end + 1 }, (_, token) =>
    h(
      "button",
      { class: "bar", type: "button", "data-token": token, onclick: () => add(token) },
      h("span", { class: "share", "aria-hidden": "true" }),
      h("span", { class: "column" }, h("i", { class: "raw" }), h("i", { class: "now" })),
      h("span", { class: token === end ? "letter end" : "letter" }, letter(token, vocabulary)),
    ),
  );
  const scale = [100, 75, 50, 25].map((p) => h("span", {}, `${p}%`));
  const label = "How likely each letter is to come next; press one to add it";
  roving(bars);
  const element = h(
    "div",
    { class: "guess" },
    h("h2", {}, "The next letter, and its probability"),
    h(
      "div",
      { class: "bars", role: "group", "aria-label": label },
      h("div", { class: "ticks", "aria-hidden": "true" }, ...scale),
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
  );

  /** @param {Next} next */
  function draw({ chosen, probs, logits }) {
    const most = Math.max(...chosen);
    for (const [token, bar] of bars.entries()) {
      const p = chosen[token];
      bar.style.setProperty("--raw", probs[token]);
      bar.style.setProperty("--now", p);
      bar.dataset.p = p;
      bar.dataset.logit = logits[token];
      bar.classList.toggle("out", p === 0);
      bar.classList.toggle("first", p === most);
      bar.firstChild.textContent = p >= 0.02 ? Math.round(100 * p) : "";
      bar.title =
        `${letter(token, vocabulary, "the end")}: ${percent(p)} ` +
        `(as learned ${percent(probs[token])}, logit ${number(logits[token], 2)})`;
    }
  }

  return { element, draw };
}

/** How likely a letter was, under it. @param {string} character @param {number} p */
function shareOf(character, p) {
  return h(
    "span",
    { "--p": p, "data-p": p, title: `${character}: ${percent(p)}` },
    h("i"),
    h("b", {}, p < 0.01 ? "<1" : Math.round(100 * p), h("span", {}, "%")),
  );
}

/** @param {{block_size: number}} config */
function full({ block_size: size }) {
  return `The model sees ${size} {positions|position}, and they are full.`;
}

/** How likely a beginning is, in words. @param {number[]} letters */
function chance(letters) {
  if (!letters.length)
    return "Before the first letter there is only {BOS}: it says that a name begins.";
  const p = letters.reduce((a, b) => a * b, 1);
  return (
    `To the model, one name in ${Math.max(1, Math.round(1 / p)).toLocaleString("en")} ` +
    "begins like this."
  );
}

/** @param {Name} made @param {(name: string) => void} choose */
function nameOf({ name, probs }, choose) {
  const letters = probs.map((p, i) =>
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
  );
  const how = { type: "button", class: "name", "aria-label": name, onclick: () => choose(name) };
  return h("li", {}, h("button", how, ...letters));
}

export default { render };
