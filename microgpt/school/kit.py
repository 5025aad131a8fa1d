"""The kit of those who teach: pages to print, made of the lessons, the checks and kit.toml."""

import ast
import os
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from microgpt.school.course import Lesson, lessons
from microgpt.school.mistakes import Mistake, mistakes
from microgpt.school.pages import html
from microgpt.school.program import reference
from microgpt.school.source import heart, home

WORDS, STYLE = (Path(__file__).with_name(f"kit.{kind}") for kind in ("toml", "css"))


@cache
def words() -> dict[str, Any]:
    """Return what the kit says: kit.toml."""
    return tomllib.loads(WORDS.read_text("utf-8"))


def write(folder: Path, add_site: Callable[[Path], object] | None) -> None:
    """Write the pages into a new folder, and the lab by add_site(its place); all or nothing.

    Raises:
        OSError: it cannot be written.
        ValueError: it is there, and not an empty folder, or the lab cannot be added.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there, and not an empty folder; name a new one")
    beside = folder.resolve().with_name(f".{folder.resolve().name}.{os.getpid()}.tmp")
    try:
        beside.mkdir()  # fails where its folder is missing
        for name, page in pages(add_site is not None).items():
            (beside / f"{name}.html").write_text(page, "utf-8")
        if add_site:
            add_site(beside / "site")
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def pages(site: bool) -> dict[str, str]:
    """Return each page of the kit, by its name; `site` says whether the lab lies beside them."""
    bodies = {
        "teach": _teach(),
        "worksheet": _name() + _each(_questions),
        "quiz": _name() + _each(_quiz),
        "discuss": _each(_talk),
        "group": html(words()["texts"]["group"]),
        "lessons": "".join(html(lesson.page()) for lesson in lessons()),
        "map": _map(),
        "key": html(_label("mistakes_note")) + _each(_key),
    }
    titles = words()["pages"]
    links = "".join(f'<li><a href="{n}.html">{escape(t)}</a></li>' for n, t in titles.items())
    index = f"<ul>{links}</ul>" + html(_label("site" if site else "no_site"))
    made = {name: _page(title, bodies[name], name) for name, title in titles.items()}
    return {"index": _page(words()["title"], index, "index")} | made


def _page(title: str, body: str, name: str) -> str:
    back = (
        "" if name == "index" else f'<nav><a href="index.html">{escape(words()["title"])}</a></nav>'
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE.read_text('utf-8')}</style>\n"
        f'<body class="{name}">\n{back}<h1>{escape(title)}</h1>\n<main>\n{body}</main>\n'
    )


def _label(name: str) -> str:
    return str(words()["labels"][name])


def _each(part: Any) -> str:
    """Return a section for each lesson, with what a part gives for it."""
    return "".join(
        f"<section><h2>{escape(f'{lesson.number}. {lesson.title}')}</h2>{part(lesson)}</section>\n"
        for lesson in lessons()
    )


def _own(lesson: Lesson) -> dict[str, Any]:
    """Return what kit.toml says of a lesson."""
    found: dict[str, Any] = words()["lesson"][lesson.number - 1]
    return found


def _name() -> str:
    return f'<p>{_label("name")}:<span class="row"></span></p>\n'


def _teach() -> str:
    body = html(words()["texts"]["teach"])
    for plan in words()["plan"]:
        rows = "".join(
            f'<tr><td class="time">{minutes} {_label("minutes")}</td><td>{html(what)}</td></tr>'
            for minutes, what in plan["slots"]
        )
        body += f"<h2>{escape(plan['title'])}</h2><table>{rows}</table>\n"
    return body + _each(lambda lesson: html(f"*{lesson.insight}* {_own(lesson)['teach']}"))


def _questions(lesson: Lesson) -> str:
    rows = '<span class="row"></span>'
    asked = html(f"**{lesson.question}**")
    return f"{asked}<p>{_label('predict')}{rows}</p><p>{_label('found')}{rows * 2}</p>"


def _talk(lesson: Lesson) -> str:
    return html("\n".join(f"- {question}" for question in _own(lesson)["discuss"]))


def _quiz(lesson: Lesson) -> str:
    row = '<span class="row"></span>'
    asked = "".join(f"<li>{_code(code, show)}{row}</li>" for code, show, _ in _own(lesson)["quiz"])
    lines = "".join(f"{letter}  {line.strip()}\n" for letter, line in puzzle(lesson).items())
    return (
        f"<p>{_label('reads')}</p><ol>{asked}</ol>"
        f"<p>{_label('sort')}</p><pre>{escape(lines)}</pre><p>{_label('order')}:{row}</p>"
    )


def _code(code: str, show: str) -> str:
    lines = [*code.splitlines(), f"print({show})"]
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def answer(code: str, show: str) -> str:
    """Return what a line of the quiz prints: the reference is asked."""
    space: dict[str, Any] = {"__name__": "quiz"}
    exec(reference(), space)
    exec(code, space)
    return str(eval(show, space))


def solution(lesson: Lesson) -> list[str]:
    """Return the lines that a lesson's puzzle is to become: one function, without its comments."""
    puzzle = _own(lesson)["puzzle"]
    if isinstance(puzzle, list):
        return puzzle
    return _lines(home(puzzle).nodes[puzzle])


def _lines(function: ast.stmt) -> list[str]:
    assert isinstance(function, ast.FunctionDef)
    kept = function.body[ast.get_docstring(function) is not None :]
    bare = ast.FunctionDef(function.name, function.args, kept, [], None, None, lineno=1)
    return ast.unparse(bare).splitlines()


def extra(lesson: Lesson) -> str:
    """Return the line too many: kit.toml's, or that of the first mistake that changes one line."""
    own, right = _own(lesson), solution(lesson)
    if "extra" in own:
        return str(own["extra"])
    for mistake in (m for m in mistakes() if m.lesson == lesson.number):
        wrong = [line for line in _wrong(mistake, own["puzzle"]) if line not in right]
        if len(wrong) == 1:
            return wrong[0]
    raise ValueError(f"lesson {lesson.number}: no mistake changes one line; give `extra`")


def _wrong(mistake: Mistake, name: str) -> list[str]:
    """Return the lines of a function with a mistake in it."""
    body: Any = ast.parse(mistake.program()).body
    for part in name.split("."):
        node = next(n for n in body if getattr(n, "name", None) == part)
        body = node.body
    return _lines(node)


def puzzle(lesson: Lesson) -> dict[str, str]:
    """Return the lines of a lesson's puzzle by letter, mixed, one of them too many."""
    lines = [*solution(lesson), extra(lesson)]
    random.Random(lesson.number).shuffle(lines)
    return dict(zip(ascii_uppercase, lines, strict=False))


def _key(lesson: Lesson) -> str:
    rows = ""
    for code, show, why in _own(lesson)["quiz"]:
        said = html(f"{_label('answer')}: `{answer(code, show)}`. {why}")
        rows += f"<li>{_code(code, show)}{said}</li>"
    letters, left = [], dict(puzzle(lesson))
    for line in solution(lesson):
        letters.append(next(letter for letter, each in left.items() if each == line))
        del left[letters[-1]]
    order = f"{_label('order')}: {' '.join(letters)} ({_label('extra')}: {' '.join(left)})"
    return (
        html(f"**{lesson.question}** {lesson.answer}")
        + f"<ol>{rows}</ol><p>{order}</p><pre>{escape(chr(10).join(solution(lesson)))}</pre>"
        + f"<h3>{_label('mistakes')}</h3>{''.join(_mistakes(lesson))}"
    )


def _mistakes(lesson: Lesson) -> Iterator[str]:
    for mistake in (m for m in mistakes() if m.lesson == lesson.number and not m.like):
        code = (text.strip("\n") for change in mistake.patch for text in change)
        both = "".join(f"<pre>{escape(text)}</pre>" for text in code)
        source = f" ({mistake.source})" if mistake.source else ""
        said = f"<p>{escape(f'{mistake.id}: {mistake.says}{source}')}</p>"
        yield f'<div class="mistake">{both}{said}</div>'


def _map() -> str:
    """Return gpt.py, section by section, each name with the lesson that writes it."""
    tags = {
        heart().nodes[name].lineno - 1: lesson.number
        for lesson in lessons()
        for name in lesson.writes
        if name in heart().nodes
    }
    body, section = html(_label("map_note")), ""
    for i, line in enumerate(heart().lines):
        if line.startswith("# ----") and section:
            body += f"<pre>{section}</pre>"
            section = ""
        section += f"<b>{tags.get(i, '')}</b>{escape(line)}"
    return body + f"<pre>{section}</pre>"
