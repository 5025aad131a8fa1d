// An editor for a Python file: a textarea over its own text in colour.
import { code, h, put } from "./draw.mjs";

/** A textarea over its own text in colour, the lines that differ marked.
 * @param {string} label @param {string} original @param {(source: string) => void} changed
 * @param {() => void} run  what Ctrl+Enter does */
export function editorOf(label, original, changed, run) {
  const area = h("textarea", {
    class: "area",
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "none",
    wrap: "off",
    "aria-label": label,
    oninput: () => {
      typed();
      changed(area.value);
    },
    onkeydown: indent,
  });
  const under = h("div", { class: "under-code", "aria-hidden": "true" });
  const element = h("div", { class: "listing editor" }, under, area);

  function typed() {
    const lines = area.value.split("\n");
    area.rows = lines.length + 1;
    const widest = Math.max(...lines.map((/** @type {string} */ line) => line.length));
    area.style.width = `calc(${widest + 2}ch + 4rem)`;
    const listed = code(area.value);
    for (const i of different(original, area.value)) listed.children[i]?.classList.add("edited");
    put(under, listed);
  }

  /** A new line begins where the last one did. @param {KeyboardEvent} event */
  function indent(event) {
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return run();
    const before = area.value.slice(0, area.selectionStart).split("\n").at(-1) ?? "";
    const deeper = before.trimEnd().endsWith(":") ? "    " : "";
    const line = `\n${/^ */.exec(before)?.[0] ?? ""}${deeper}`;
    area.setRangeText(line, area.selectionStart, area.selectionEnd, "end");
    typed();
    changed(area.value);
  }

  return {
    element,
    /** @param {string} source @param {number | null} line  to bring into sight */
    set(source, line) {
      area.value = source;
      typed();
      const shown = line && under.querySelector(`[data-line="${line}"]`);
      if (!shown) return;
      element.scrollIntoView({ block: "nearest" });
      element.scrollTop = Math.max(0, shown.offsetTop - element.clientHeight * 0.4);
    },
  };
}

/** Return the lines (from 0) of a text between the first and the last that differ from another's.
 * @param {string} original @param {string} text */
function different(original, text) {
  const a = original.split("\n"),
    b = text.split("\n");
  let top = 0,
    end = 0;
  while (top < b.length && b[top] === a[top]) top++;
  while (end < b.length - top && b.at(-1 - end) === a.at(-1 - end)) end++;
  return b.map((_, i) => i).filter((i) => i >= top && i < b.length - end && a[i] !== b[i]);
}
