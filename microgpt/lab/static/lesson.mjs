// A lesson: its text, the live model beside it, and a prediction before anything is revealed.
import { h, put } from "./draw.mjs";
import { keep, kept } from "./progress.mjs";
import { stage } from "./stage.mjs";

/** @typedef {import("./app.mjs").Context} Context */

/**
 * A lesson, as lab/lessons.py writes it; `before` and `after` the prediction are HTML.
 * @typedef {{number: number, name: string, title: string, minutes: number, insight: string,
 *   question: string, answer: string, writes: string[], hints: string[], place: string,
 *   before: string, after: string}} Lesson
 */

const NARROW = matchMedia("(max-width: 56rem)");

/** @param {Context} context @param {Lesson} lesson @param {Lesson[]} lessons */
export function lesson({ model, el }, lesson, lessons) {
  const { number, name, title, insight, minutes, before, after, place } = lesson;
  const live = stage(model, el);
  const begun = prose(before),
    rest = prose(after);
  rest.hidden = !kept(name).said;
  const predicted = prediction(lesson, () => {
    rest.hidden = false;
  });
  rest.append(...writing(lesson), ...ending(lesson, lessons));
  const text = h(
    "article",
    { class: "text" },
    h("p", { class: "crumbs" }, h("a", { href: "#lessons" }, "Lessons"), ` ${number} of 12`),
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
    oninput: () => (show.disabled = !said.value.trim()),
  });
  const show = h("button", { type: "button", class: "strong", disabled: true }, "Show the answer");
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

/** What to write, how to have it checked, and hints one at a time. @param {Lesson} lesson */
function writing({ number, writes, hints }) {
  const list = h("ol", { class: "hints" });
  const more = h("button", { type: "button" }, "A hint");
  more.addEventListener("click", () => {
    list.append(h("li", {}, hints[list.children.length]));
    more.disabled = list.children.length === hints.length;
    more.textContent = "Another hint";
  });
  return [
    h(
      "section",
      { class: "rebuild", "aria-label": "Write it yourself" },
      h("h2", {}, "Write it yourself"),
      h("p", {}, ...writes.flatMap((w, i) => [i ? ", " : "", h("code", {}, w)])),
      h(
        "pre",
        { tabindex: 0, "aria-label": "In a terminal" },
        h("code", {}, `microgpt school start ${number}\nmicrogpt school check`),
      ),
      more,
      list,
    ),
  ];
}

/** The end: it is done, and what comes next. @param {Lesson} lesson @param {Lesson[]} lessons */
function ending({ number, name }, lessons) {
  const next = lessons[number];
  const done = h("input", {
    type: "checkbox",
    checked: Boolean(kept(name).done),
    onchange: () => keep(name, { done: done.checked }),
  });
  return [
    h(
      "p",
      { class: "ending" },
      h("label", { class: "check" }, done, "I have done this lesson"),
      next
        ? h("a", { href: `#lessons?lesson=${next.number}` }, `Next: ${next.title}`)
        : h("a", { href: "#lessons" }, "Back to all lessons"),
    ),
  ];
}
