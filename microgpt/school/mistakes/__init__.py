"""The mistakes that people make, one in each entry of the files here: a patch and a sentence.

An entry makes the reference wrong: its text `old`, which is there exactly once, becomes `new`; two
lists make several such changes. `says` names the misconception without giving the solution;
`source` is where the mistake was seen in public. An entry with `like` is another way to make the
mistake of that name, with other numbers; it has that one's sentence. A file holds a lesson.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from microgpt.school.program import reference


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is known."""

    id: str
    lesson: int
    says: str
    patch: tuple[tuple[str, str], ...]  # old text, new text
    source: str = ""
    like: str = ""  # the mistake that this is another way to make

    def program(self) -> str:
        """Return the reference with this mistake in it.

        Raises:
            ValueError: a text to be changed is not there exactly once.
        """
        source = reference()
        for old, new in self.patch:
            if (found := source.count(old)) != 1:
                raise ValueError(f"{self.id}: {old!r} is {found} times in the reference, not once")
            source = source.replace(old, new)
        return source


@cache
def mistakes() -> tuple[Mistake, ...]:
    """Return all mistakes, lesson by lesson."""
    found = []
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            lesson = int(file.name.partition("-")[0])
            entries = tomllib.loads(file.read_text("utf-8"))
            for name, entry in entries.items():
                says = entries[entry.get("like", name)]["says"]
                found.append(_mistake(name, lesson, **entry | {"says": says}))
    return tuple(found)


def _mistake(
    name: str,
    lesson: int,
    says: str,
    old: str | list[str],
    new: str | list[str],
    source: str = "",
    like: str = "",
) -> Mistake:
    olds, news = ([each] if isinstance(each, str) else each for each in (old, new))
    return Mistake(name, lesson, says, tuple(zip(olds, news, strict=True)), source, like)
