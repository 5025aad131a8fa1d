// The tour: stops in the lab, each with a sentence, and a question to ask oneself.
import { h, put } from "./draw.mjs";
import { stage } from "./stage.mjs";

/** @typedef {import("./app.mjs").Context} Context */
/** @typedef {{title: string, place: string, text: string, question: string,
 *   answer: string}} Stop */

/** @param {Context} context @param {Stop[]} stops @param {number} wanted  counted from 1 */
export function tour({ model, el }, stops, wanted) {
  const at = Math.max(1, Math.min(stops.length, Math.floor(wanted) || 1));
  const { title, place, text, question, answer } = stops[at - 1];
  const live = stage(model, el);
  const answered = h("p", { role: "status", class: "answer" });
  const show = h("button", { type: "button" }, "Show the answer");
  show.addEventListener("click", () => {
    answered.textContent = answer;
    show.remove();
  });
  const way = (/** @type {number} */ to, /** @type {string} */ words, extra = "") =>
    h("a", { href: `#lessons?tour=${to}`, class: `step ${extra}` }, words);
  const article = h(
    "article",
    { class: "text" },
    h(
      "p",
      { class: "crumbs" },
      h("a", { href: "#lessons" }, "Lessons"),
      ` The tour, stop ${at} of ${stops.length}`,
    ),
    h("h1", {}, title),
    h("p", { class: "lead" }, text),
    h(
      "section",
      { class: "predict", "aria-label": "A question" },
      h("p", { class: "question" }, question),
      show,
      answered,
    ),
    h(
      "p",
      { class: "ending" },
      at > 1 && way(at - 1, "Back"),
      at < stops.length
        ? way(at + 1, `Next: ${stops[at].title}`, "strong")
        : h("a", { href: "#lessons", class: "step strong" }, "Now the lessons"),
    ),
  );
  put(el, h("div", { class: "with-stage" }, article, live.element));
  live.show(place);
  return live.leave;
}
