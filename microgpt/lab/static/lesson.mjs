// A lesson: its text, the live model beside it, and a prediction before anything is revealed.
import { h, put } from "./draw.mjs";
import { keep, kept } from "./progress.mjs";
import { rebuild } from "./rebuild.mjs";
import { stage } from "./stage.mjs";

/** @typedef {import("./app.mjs").Context} Context */

/**
 * A lesson, as lab/lessons.py writes it; `before` and `after` the prediction are HTML.
 * @typedef {{number: number, name: string, title: string, minutes: number, insight: string,
 *   question: string, answer: string, writes: string[], hints: string[], place: string,
 *   version: string, before: string, after: string}} Lesson
 */

const NARROW = matchMedia("(max-width: 56rem)");

/** @param {Context} context @param {Lesson} lesson @param {Lesson[]} lessons */
export function lesson({ model, el }, lesson, lessons) {
  const { number, name, title, insight, minutes, before, after, place } = lesson;
  const live = stage(model, el);
  const begun = prose(before),
    rest = h("div", {}, prose(after));
  rest.hidden = !kept(name).said;
  const predicted = prediction(lesson, () => {
    rest.hidden = false;
  });
  const end = ending(lesson, lessons);
  const mine = rebuild(model, lesson, end.done);
  rest.append(mine.element, end.element);
  const text = h(
    "article",
    { class: "text" },
    h(
      "p",
      { class: "crumbs" },
      h("a", { href: "#lessons" }, "Lessons"),
      ` ${number} of ${lessons.length}`,
    ),
    h("h1", {}, title),
    h("p", { class: "lead" }, insight, h("small", {}, ` ${minutes} minutes`)),
    begun,
    predicted,
    rest,
  );
  put(el, h("div", { class: "with-stage" }, text, live.element));
  /** @type {HTMLElement[]} */
  const links = [...text.querySelectorAll(".look a")];

  /** @param {Element | undefined} link */
  function look(link) {
    for (const other of links) other.toggleAttribute("aria-current", other === link);
    live.show(link?.getAttribute("href")?.slice(1) ?? place);
    settle();
  }

  /** Beside the text, or, on a phone, below the line that speaks of it. */
  function settle() {
    const link = text.querySelector(".look [aria-current]");
    if (NARROW.matches && link) link.closest("p")?.after(live.element);
    else text.after(live.element);
  }

  for (const link of links)
    link.addEventListener("click", (event) => {
      event.preventDefault();
      look(link);
    });
  NARROW.addEventListener("change", settle);
  look(links[0]);
  return () => {
    NARROW.removeEventListener("change", settle);
    mine.stop();
    live.leave();
  };
}

/** HTML that Python made of a lesson's Markdown, in which HTML is text. @param {string} html */
function prose(html) {
  const element = h("div", { class: "prose" });
  element.innerHTML = html;
  return element;
}

/** The question; the answer comes when something has been predicted.
 * @param {Lesson} lesson @param {() => void} reveal */
function prediction({ name, question, answer }, reveal) {
  const said = h("textarea", {
    rows: 2,
    "aria-label": "Your prediction",
    placeholder: "What do you think?",
    value: kept(name).draft ?? "",
    oninput() {
      keep(name, { draft: said.value });
      show.disabled = !said.value.trim();
    },
  });
  const disabled = !said.value.trim();
  const show = h("button", { type: "button", class: "strong", disabled }, "Show the answer");
  const box = h("section", { class: "predict", "aria-label": "Predict" });
  const result = h("div", { role: "status" });

  function answered() {
    const mine = kept(name).said ?? said.value.trim();
    put(result, h("p", {}, h("b", {}, "You: "), mine), h("p", {}, h("b", {}, "Answer: "), answer));
    put(box, h("h2", {}, "Predict first"), h("p", { class: "question" }, question), result);
  }

  show.addEventListener("click", () => {
    keep(name, { said: said.value.trim() });
    answered();
    reveal();
  });
  put(
    box,
    h("h2", {}, "Predict first"),
    h("p", { class: "question" }, question),
    said,
    show,
    result,
  );
  if (kept(name).said) answered();
  return box;
}

/** The end: it is done, and what comes next. @param {Lesson} lesson @param {Lesson[]} lessons */
function ending({ number, name }, lessons) {
  const next = lessons[number];
  const box = h("input", {
    type: "checkbox",
    checked: Boolean(kept(name).done),
    onchange: () => keep(name, { done: box.checked }),
  });
  return {
    element: h(
      "p",
      { class: "ending" },
      h("label", { class: "check" }, box, "I have done this lesson"),
      next
        ? h("a", { href: `#lessons?lesson=${next.number}` }, `Next: ${next.title}`)
        : h("a", { href: "#lessons" }, "Back to all lessons"),
    ),
    done() {
      box.checked = true;
      keep(name, { done: true });
    },
  };
}
