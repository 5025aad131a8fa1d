// Writing a lesson's functions in the page: one growing file, the school's own check, hints.
import { h, put } from "./draw.mjs";
import { editorOf } from "./editor.mjs";
import { keep, kept } from "./progress.mjs";
import { runner } from "./runner.mjs";

/** @typedef {import("./app.mjs").Model} Model */
/** @typedef {import("./lesson.mjs").Lesson} Lesson */

const FILE = "mygpt.py"; // the one file in which all lessons are written

/** @param {Model} model @param {Lesson} lesson @param {() => void} passed  hears of a pass */
export function rebuild(model, lesson, passed) {
  const { number, writes } = lesson;
  const room = h("div", {});
  const open = h("button", { type: "button", class: "strong" }, "Write it here");
  /** @type {(() => void) | null} */
  let stop = null;
  open.addEventListener("click", async () => {
    open.hidden = true;
    const { source = "", version } = kept(FILE);
    let begun = source,
      note = "";
    try {
      begun = await model.ask("begin", { source, number });
      if (source && version !== lesson.version)
        note = "Your file is older than this lesson; what you wrote is kept.";
    } catch (error) {
      note = /** @type {Error} */ (error).message; // it is not Python: there it is, to be mended
    }
    const bench = benchOf(model, lesson, begun, passed);
    stop = bench.stop;
    put(room, ...bench.parts);
    bench.say(note);
    bench.look();
  });
  const element = h(
    "section",
    { class: "rebuild", "aria-label": "Write it yourself" },
    h("h2", {}, "Write it yourself"),
    h("p", {}, ...writes.flatMap((w, i) => [i ? ", " : "", h("code", {}, w)])),
    h("p", {}, open),
    room,
    h("p", { class: "key" }, "Or in a terminal:"),
    h(
      "pre",
      { tabindex: 0, "aria-label": "In a terminal" },
      h("code", {}, `microgpt school start ${number}\nmicrogpt school check`),
    ),
    ...hintsOf(lesson),
  );
  return { element, stop: () => stop?.() };
}

/** Hints, one at a time. @param {Lesson} lesson */
function hintsOf({ hints }) {
  const list = h("ol", { class: "hints" });
  const more = h("button", { type: "button" }, "A hint");
  more.addEventListener("click", () => {
    list.append(h("li", {}, hints[list.children.length]));
    more.disabled = list.children.length === hints.length;
    more.textContent = "Another hint";
  });
  return [more, list];
}

/** Take the file away, for a disk or another machine. @param {() => void} flush  keeps it first */
function fileOf(flush) {
  const save = () => {
    flush();
    const url = URL.createObjectURL(new Blob([kept(FILE).source ?? ""], { type: "text/x-python" }));
    h("a", { href: url, download: FILE }).click();
    URL.revokeObjectURL(url);
  };
  return h("button", { type: "button", onclick: save }, `Download ${FILE}`);
}

/** The editor and its check. @param {Model} model @param {Lesson} lesson @param {string} begun
 * @param {() => void} passed */
function benchOf(model, { number, writes, version }, begun, passed) {
  const said = h("div", { class: "checked", role: "status" });
  const run = runner(model, "check", hear);
  let source = begun;
  const store = () => keep(FILE, { source, version });
  const editor = editorOf(FILE, begun, changed, check);
  const button = h("button", { type: "button", class: "strong", title: "Ctrl+Enter" }, "Check");
  button.addEventListener("click", check);

  /** @param {string} text */
  function changed(text) {
    source = text;
    store();
  }

  /** @param {string} text */
  const say = (text) => put(said, text && h("p", {}, text));

  /** @param {any} event */
  function hear(event) {
    if (event.error) say(event.error);
    if (!event.verdict) return;
    put(said, ...verdictOf(event.verdict));
    if (event.verdict.passed !== event.verdict.total) return;
    passed();
    model.ask("own", { number }).then((own) => said.append(compare(own)), model.lost);
  }

  async function check() {
    say("Checking …");
    await run.start({ source, lesson: number });
    if (said.textContent === "Checking …") say("The check ended before its time; try again.");
  }

  store();
  const open = h("input", {
    type: "file",
    accept: ".py",
    "aria-label": `Open a ${FILE}`,
    onchange: async () => {
      changed(await open.files[0].text());
      editor.set(source, null);
    },
  });
  return {
    parts: [
      editor.element,
      h("p", { class: "ending" }, button, fileOf(store), h("label", {}, "Open a file ", open)),
      said,
    ],
    say,
    stop: run.stop,
    look() {
      const [kind, name = kind] = writes[0].split(".");
      const at = source.split("\n").findIndex((line) => line.includes(`def ${name}(`));
      editor.set(source, at < 0 ? null : at + 1);
    },
  };
}

/** The same functions in gpt.py, once they have been written. @param {string} own */
function compare(own) {
  return h(
    "details",
    {},
    h("summary", {}, "Compare with gpt.py"),
    h("pre", { tabindex: 0, "aria-label": "gpt.py's own" }, h("code", {}, own)),
  );
}

/** What the check says, as the terminal does. @param {any} verdict */
function verdictOf({ passed, total, failure, advice }) {
  if (passed === total) return [h("p", {}, h("b", {}, `Passed: ${passed} of ${total}.`))];
  const { what, input, expected, got } = failure;
  return [
    h("p", {}, h("b", {}, `Not yet: ${passed} of ${total}.`)),
    h(
      "p",
      {},
      ...(input.startsWith(what) ? [] : [h("code", {}, what), " "]),
      `${input}: expected `,
      h("code", {}, expected),
      ", got ",
      h("code", {}, got),
    ),
    h("p", {}, advice),
  ];
}
