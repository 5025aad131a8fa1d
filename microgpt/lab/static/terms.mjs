// A term of the field, explained where it is: press it. The words are the school's glossary.
import { h, put } from "./draw.mjs";

const WIDE = 320; // pixels, at most

/** @type {Promise<Record<string, string>> | null} */
let fetched = null;

/** The glossary, once somebody asks. @returns {Promise<Record<string, string>>} */
function glossary() {
  fetched ??= fetch("lessons.json")
    .then((answer) => answer.json())
    .then(({ words }) => words);
  return fetched;
}

/** @typedef {(string | HTMLElement)[]} Text */

/** A text whose {terms} can be pressed; {nats|nat} shows one word and explains another.
 * @param {string} text @returns {Text} */
export function explained(text) {
  const pieces = text.split(/\{([^}]*)\}/);
  return pieces.flatMap((piece, i) => /** @type {Text} */ (i % 2 ? term(piece) : [piece]));
}

/** @param {string} piece @returns {HTMLElement[]} */
function term(piece) {
  const [shown, name = shown] = piece.split("|");
  const meaning = h("span", { popover: "auto", class: "meaning", role: "note" });
  const button = h("button", { type: "button", class: "explained", "data-term": name }, shown);
  button.popoverTargetElement = meaning;
  meaning.addEventListener("beforetoggle", async (/** @type {ToggleEvent} */ { newState }) => {
    if (newState !== "open") return;
    const { left, bottom } = button.getBoundingClientRect();
    meaning.style.left = `${Math.max(8, Math.min(left, innerWidth - WIDE - 8))}px`;
    meaning.style.top = `${Math.min(bottom + 6, innerHeight - 120)}px`;
    put(meaning, h("b", {}, name), `: ${(await glossary())[name]}`);
  });
  return [button, meaning];
}
