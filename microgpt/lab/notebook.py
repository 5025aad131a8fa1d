"""The lab's screens in a notebook: `microgpt.show(trace)`. It needs the extra `notebook`.

A screen of the page is already what anywidget asks of a module, but for two things: a widget's
module cannot import its neighbours, so what it imports is written into it; and a notebook has a
style of its own, so ours is kept inside the screen.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from microgpt.lab.answers import look_at, order, pack
from microgpt.xray import Trace

STATIC = Path(str(files("microgpt.lab") / "static"))
IMPORT = re.compile(r'^import (\{[^}]*\}) from "([^"]*)";$', flags=re.M)
EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", flags=re.M)
Screen = Literal["forward", "backward"]

# What a screen is given in place of the page's model: values of its own, and questions as messages.
CONNECT = """
function connect(widget) {
  const values = new Map(Object.entries({ described: widget.get("described") }));
  const waiting = new Map();
  let asked = 0;
  widget.on("msg:custom", ({ id, answer, error }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  });
  return {
    get: (name) => values.get(name),
    set: (name, value) => { values.set(name, value); },
    ask: (name, question = {}) => new Promise((resolve, reject) => {
      const id = ++asked;
      waiting.set(id, { resolve, reject });
      widget.send({ id, name, question });
    }),
  };
}

export default {
  render({ model, el }) {
    el.classList.add("microgpt");
    if (document.body.dataset.jpThemeLight === "false") el.dataset.theme = "dark";
    const box = document.createElement("div");
    box.className = `view ${model.get("screen")}`;
    box.tabIndex = 0;
    el.append(box);
    return view.render({ model: connect(model), el: box, params: {} });
  },
};
"""


def module(screen: Screen) -> str:
    """Return a screen as one ES module that imports nothing.

    Each file becomes a function's body, called once, which returns what the file exports.
    """
    parts: dict[Path, str] = {}  # each file that is imported, before those that import it

    def add(path: Path) -> None:
        source = path.read_text("utf-8")
        for _, name in re.findall(IMPORT, source):
            other = (path.parent / name).resolve()
            if other not in parts:
                add(other)
        names = ", ".join(re.findall(EXPORT, source)) or "view"
        body = re.sub(IMPORT, lambda found: f"const {found[1]} = ${Path(found[2]).stem};", source)
        body = body.replace("export default ", "const view = ")
        body = re.sub(r"^export ", "", body, flags=re.M)
        parts[path] = f"const ${path.stem} = (() => {{\n{body}\nreturn {{ {names} }};\n}})();\n"

    add((STATIC / "screens" / f"{screen}.mjs").resolve())
    return "".join(parts.values()) + f"const {{ view }} = ${screen};\n" + CONNECT


def style(screen: Screen) -> str:
    """Return the page's style, for the inside of a screen alone, and by the screen's width."""
    sheets = (STATIC / "style.css", STATIC / "screens" / f"{screen}.css")
    sheet = "\n".join(path.read_text("utf-8") for path in sheets)
    sheet = re.sub(r"@media (?=\((min|max)-width)", "@container ", sheet)
    sheet = re.sub(r'^(:root(\[data-theme="dark"\])?|html)(?= \{)', r":scope\2", sheet, flags=re.M)
    return f".microgpt {{ container-type: inline-size; }}\n@scope (.microgpt) {{\n{sheet}\n}}\n"


def answer(trace: Trace, name: str, question: dict[str, Any]) -> Any:
    """Return the answer to what a screen asks of a trace: JSON data.

    Raises:
        ValueError: it asks of another name than the trace's.
    """
    if name == "order":
        return order(**question)
    if question.get("text", trace.document) != trace.document:
        raise ValueError(f"this is the trace of {trace.document!r}; record another name to see it")
    if name == "trace":
        return pack(trace)
    return look_at(trace, **{key: value for key, value in question.items() if key != "text"})


def show(trace: Trace, screen: Screen = "forward") -> Any:
    """Show a trace in a notebook as the lab does: its way forward, or backward.

    Raises:
        ImportError: anywidget is not installed.
    """
    import anywidget  # for notebooks alone
    import traitlets

    source, sheet = module(screen), style(screen)

    class Widget(anywidget.AnyWidget):
        _esm = source
        _css = sheet
        screen = traitlets.Unicode().tag(sync=True)
        described = traitlets.Dict().tag(sync=True)

    def hear(widget: Widget, message: dict[str, Any], buffers: list[Any]) -> None:
        try:
            reply = {"answer": answer(trace, message["name"], message["question"])}
        except ValueError as error:
            reply = {"error": str(error)}
        widget.send({"id": message["id"]} | reply)

    described = {
        "source": trace.source,
        "vocabulary": trace.vocabulary,
        "config": trace.config,
        "text": trace.document,
    }
    widget = Widget(screen=screen, described=described)
    widget.on_msg(hear)
    return widget
