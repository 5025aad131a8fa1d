// Lessons: where to begin. The lessons, a tour, a bet on each part, and the words.

import { bets } from "../bets.mjs";
import { h, put } from "../draw.mjs";
import { lesson } from "../lesson.mjs";
import { kept } from "../progress.mjs";
import { tour } from "../tour.mjs";

/** @typedef {import("../app.mjs").Context} Context */
/** @typedef {import("../lesson.mjs").Lesson} Lesson */

/**
 * What lab/lessons.py says.
 * @typedef {{lessons: Lesson[], tour: import("../tour.mjs").Stop[], words: Record<string, string>}}
 *   School
 */

const WHOLE = 12; // lessons in which gpt.py is written

/** @type {Promise<School> | null} */
let fetched = null;

/** @returns {Promise<School>} */
function school() {
  fetched ??= fetch("lessons.json").then((answer) => answer.json());
  fetched.catch(() => (fetched = null)); // the next who asks tries again
  return fetched;
}

/** @param {Context} context */
function render({ model, el, params }) {
  let left = false;
  /** @type {(() => void) | void} */
  let leave;
  school().then((found) => {
    if (!left) leave = enter({ model, el, params }, found);
  }, model.lost);
  return () => {
    left = true;
    leave?.();
  };
}

/** Show the page that the address names. @param {Context} context @param {School} found
 * @returns {(() => void) | void} */
function enter(context, found) {
  const { el, params } = context;
  const chosen = found.lessons[Number(params.lesson) - 1];
  if (chosen) return lesson(context, chosen, found.lessons);
  if (params.tour) return tour(context, found.tour, Number(params.tour));
  if (params.page === "parts") return bets(el);
  if (params.page === "words") return put(el, ...words(found.words));
  return put(el, ...contents(found));
}

/** All that there is to learn from. @param {School} found */
function contents({ lessons, tour: stops }) {
  const next = lessons.find(({ name }) => !kept(name).done);
  const begun = lessons.some(({ name }) => kept(name).done || kept(name).said);
  const row = (/** @type {Lesson} */ { number, name, title, minutes, insight }) =>
    h(
      "li",
      { class: kept(name).done ? "done" : "" },
      h("a", { href: `#lessons?lesson=${number}` }, h("b", {}, title)),
      h("span", { class: "insight" }, insight),
      h("small", {}, kept(name).done ? "done" : `${minutes} min`),
    );
  const way = (/** @type {string} */ at, /** @type {string} */ title, /** @type {string} */ text) =>
    h("li", {}, h("a", { href: `#lessons?${at}` }, title), h("p", {}, text));
  return [
    h("h1", {}, "How a GPT works"),
    h(
      "p",
      { class: "lead" },
      "You will understand every number of a language model, for it has only 200 lines. ",
      "Predict, look, change it, write it yourself.",
    ),
    h(
      "ul",
      { class: "ways" },
      way("tour=1", "The tour", `Ten minutes, ${stops.length} stops: from a letter to a name.`),
      next &&
        way(
          `lesson=${next.number}`,
          begun ? `Go on with lesson ${next.number}` : "The first lesson",
          `${next.title}: ${next.minutes} minutes, one idea.`,
        ),
      way(
        "page=parts",
        "Why each part exists",
        "What breaks without it? Bet, then see it measured.",
      ),
      way("page=words", "Words", "Token, logit, residual: each in a sentence."),
    ),
    h("h2", {}, "Twelve lessons: the whole model"),
    h("ol", { class: "lessons-list" }, ...lessons.slice(0, WHOLE).map(row)),
    h("h2", {}, "Four more: what large models add"),
    h("ol", { class: "lessons-list more" }, ...lessons.slice(WHOLE).map(row)),
    h(
      "p",
      { class: "key" },
      "What you predict, and what is done, is kept in this browser alone. The numbers in the ",
      "texts are those of the model that comes with microgpt, and from lesson 13 on those of runs ",
      "over five seeds.",
    ),
  ];
}

/** @param {Record<string, string>} meanings */
function words(meanings) {
  return [
    h("p", { class: "crumbs" }, h("a", { href: "#lessons" }, "Lessons")),
    h("h1", {}, "Words"),
    h(
      "dl",
      { class: "words" },
      ...Object.entries(meanings).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]),
    ),
  ];
}

export default { render };
