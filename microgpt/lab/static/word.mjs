// The word that a screen reads: one field, and one rule for what it may hold.
import { h } from "./draw.mjs";

/** @typedef {import("./app.mjs").Model} Model */

/** Letters that Unicode does not take apart, and how they are usually written without them.
 * @type {Record<string, string>} */
const PLAIN = { ß: "ss", æ: "ae", œ: "oe", ø: "o", đ: "d", ð: "d", þ: "th", ł: "l", ı: "i" };

/** A character in the letters of a vocabulary: itself, or without case and accents; "" if there is
 * none.
 * @param {string} character @param {string} vocabulary */
function known(character, vocabulary) {
  const lower = character.toLowerCase();
  const bare = lower.normalize("NFKD").replace(/\p{M}/gu, "");
  const forms = [character, lower, character.toUpperCase(), bare, PLAIN[lower] ?? ""];
  return forms.find((form) => form && [...form].every((c) => vocabulary.includes(c))) ?? "";
}

/**
 * Write a text in a vocabulary's letters, and say what that took, if it is more than case.
 * @param {string} text @param {string} vocabulary @param {number} longest  letters
 * @returns {{text: string, said: string}}
 */
export function fold(text, vocabulary, longest) {
  const characters = [...text.normalize("NFC").trim()];
  const pairs = characters.map((c) => [c, known(c, vocabulary)]);
  const all = pairs.map(([, form]) => form).join("");
  const read = pairs.filter(([c, form]) => form && form !== c && form !== c.toLowerCase());
  const refused = pairs.filter(([, form]) => !form);
  const said = [
    [...new Set(read.map(([c, form]) => `${c} is read as ${form}`))].join(", "),
    refused.length > 0 &&
      `the model has no ${[...new Set(refused.map(([c]) => `“${c}”`))].slice(0, 3).join(", ")}`,
    all.length > longest && `the model sees ${longest} letters, no more`,
  ].filter(Boolean);
  return { text: all.slice(0, longest), said: said.join("; ") };
}

/**
 * Make the field. It opens with what the address says, or with the word that another screen had, or
 * with its own; what it holds is always what `heard` was last given and accepted.
 * @param {object} options
 * @param {Model} options.model
 * @param {Record<string, string>} options.params
 * @param {string} options.label  the field's name for who cannot see it
 * @param {string} [options.caption]  what is written before it
 * @param {string} [options.fallback]
 * @param {number} [options.longest]
 * @param {boolean} [options.live]  heard with every letter, not with Enter alone
 * @param {string} [options.class]
 * @param {(text: string) => any} options.heard  may reject: the last word comes back
 */
export function word({
  model,
  params,
  label,
  caption,
  fallback = "emma",
  longest,
  live,
  heard,
  ...rest
}) {
  const { vocabulary, config } = model.get("described");
  const most = longest ?? config.block_size;
  const first = fold(params.text ?? model.get("word") ?? fallback, vocabulary, most);
  let { text } = first;
  if (params.text !== undefined) model.set("word", text);
  const said = h("small", { class: "refused", role: "status" }, first.said);
  const input = h("input", {
    type: "text",
    class: rest.class ?? "",
    value: text,
    "aria-label": label,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    oninput: (/** @type {InputEvent} */ event) => {
      if (live && !event.isComposing) take(input.value);
    },
    oncompositionend: () => live && take(input.value),
    onchange: () => !live && take(input.value),
  });
  const element = h(
    "div",
    { class: "read" },
    caption && h("span", { "aria-hidden": "true" }, caption),
    input,
    said,
  );

  /** @param {string} typed */
  async function take(typed) {
    const folded = fold(typed, vocabulary, most);
    said.textContent = folded.said;
    if (typed.trim() && !folded.text) return put(text); // nothing of it can be read
    const before = text;
    put(folded.text);
    try {
      await heard(text);
      model.set("word", text);
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      said.textContent = name === "Gone" ? "" : message; // the page's banner says that
      put(before);
    }
  }

  /** @param {string} value */
  function put(value) {
    text = value;
    if (input.value !== value) input.value = value;
  }

  return {
    element,
    input,
    /** Take a word that was chosen, as if it had been typed. */
    take,
    get text() {
      return text;
    },
  };
}
