// Why each part exists: take it out of gpt.py, bet what that costs, and see what was measured.
import { h, number, put } from "./draw.mjs";
import { keep, kept } from "./progress.mjs";

/**
 * What scripts/ablations.py measured.
 * @typedef {{yours: number[], differences: number[]}} Result
 * @typedef {{title: string, from: string, to: string, why: string,
 *   measured: Record<string, Result>}} Idea
 * @typedef {{ours: number[], pairs: number, least?: number}} Task
 * @typedef {{ideas: Idea[], tasks: Record<string, Task>, looks: number[], held_out: number,
 *   seeds: number}} Page
 */

const NOISE = 0.008; // nats/token: smaller differences come with the seed, whatever the code
const MUCH = 0.1; // nats/token
/** @type {Record<string, string>} */
const VERDICTS = {
  much: "much worse",
  little: "a little worse",
  none: "no clear difference",
  better: "a little better",
};
/** @type {Record<string, string>} */
const TASKS = { names: "names", mirror: "mirror words" };

/** Say what differences between pairs of runs come to. @param {number[]} differences */
export function verdict(differences) {
  const least = Math.min(...differences);
  if (least > MUCH) return "much";
  if (least > NOISE) return "little";
  return Math.max(...differences) < -NOISE ? "better" : "none";
}

/** @param {HTMLElement} el */
export function bets(el) {
  put(
    el,
    h("p", { class: "crumbs" }, h("a", { href: "#lessons" }, "Lessons")),
    h("h1", {}, "Why each part exists"),
  );
  fetch("ablations.json")
    .then((answer) => answer.json())
    .then((/** @type {Page} */ page) => el.append(...introduced(page)));
}

/** @param {Page} page */
function introduced(page) {
  const { tasks, looks, held_out: names, seeds } = page;
  const { mirror } = tasks;
  const steps = looks.at(-1)?.toLocaleString("en");
  return [
    h(
      "p",
      { class: "lead" },
      "Take a part out, train what is left, and score it on what it has never seen. ",
      "What will it cost? Bet first.",
    ),
    h(
      "p",
      { class: "about" },
      `Each was trained ${seeds} times for ${steps} steps, and scored on ${names} documents held `,
      "out. ",
      "On names, pairs of letters already tell most. So there is a second list: ",
      h("b", {}, "mirror words"),
      ", such as abccba, whose second half can only be known by looking back. ",
      `Counting pairs loses ${number(mirror.pairs, 2)} nats there, gpt.py `,
      `${number(mirror.ours.at(-1) ?? 0, 2)}, and less than ${number(mirror.least ?? 0, 2)} is `,
      "not possible.",
    ),
    h(
      "div",
      { class: "bets" },
      ...page.ideas.filter(({ measured }) => measured.mirror).map((idea) => bet(idea, page)),
    ),
  ];
}

/** @param {Idea} idea @param {Page} page */
function bet({ title, from, to, why, measured }, page) {
  const asked = Object.keys(TASKS).filter((task) => measured[task]);
  const card = h("section", { class: "bet", "aria-label": title });
  const result = h("div", { role: "status" });
  /** @type {Record<string, string>} */
  const said = { ...kept(`without: ${title}`).bets };

  function settle() {
    if (asked.some((task) => !said[task])) return;
    put(
      result,
      ...asked.map((task) => outcome(task, said[task], measured[task], page.tasks[task])),
      h("p", { class: "why" }, why),
    );
  }

  /** @param {string} task */
  const choice = (task) =>
    h(
      "fieldset",
      {},
      h("legend", {}, `On ${TASKS[task]}`),
      ...["much", "little", "none"].map((key) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: `${title}, ${task}`,
            checked: said[task] === key,
            onchange: () => {
              said[task] = key;
              keep(`without: ${title}`, { bets: said });
              settle();
            },
          }),
          VERDICTS[key],
        ),
      ),
    );
  const line = (/** @type {string} */ sign, /** @type {string} */ code) =>
    h("code", { class: sign === "+" ? "plus" : "minus" }, `${sign} ${code.trim()}`);
  put(
    card,
    h("h2", {}, title[0].toUpperCase() + title.slice(1)),
    h("pre", { tabindex: 0, "aria-label": "The change" }, line("−", from), "\n", line("+", to)),
    ...asked.map(choice),
    result,
  );
  settle();
  return card;
}

/** @param {string} task @param {string} said @param {Result} result @param {Task} all */
function outcome(task, said, { yours, differences }, { ours }) {
  const found = verdict(differences);
  const right = said === found || (said === "none" && found === "better");
  const signed = (/** @type {number} */ x) => `${x > 0 ? "+" : ""}${number(x)}`;
  const own = number(ours.at(-1) ?? 0, 2),
    theirs = number(yours.at(-1) ?? 0, 2);
  return h(
    "p",
    { "data-verdict": found },
    h("b", {}, `On ${TASKS[task]}: ${VERDICTS[found]}. `),
    right ? "You were right. " : `You said: ${VERDICTS[said]}. `,
    `gpt.py loses ${own}, changed so ${theirs} nats/token `,
    h("small", {}, `(seed by seed: ${differences.map(signed).join(", ")})`),
  );
}
