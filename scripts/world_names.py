"""Print the built-in documents: first names of the world, one a line.

    python scripts/world_names.py > microgpt/data/names.txt

The names are those that the person providers of faker know, of every locale, spelled in a-z. The
version of faker is pinned in pyproject.toml, so that the list comes out the same, byte for byte.
"""

import re
import unicodedata
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from faker.providers import person

# Letters that Unicode does not take apart into an ASCII letter and an accent.
LETTERS = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "đ": "d", "ı": "i"})  # noqa: RUF001


def first_names() -> Iterator[str]:
    """Yield every first name of every locale, as faker spells it."""
    for locale in iter_modules(person.__path__):
        provider = import_module(f"faker.providers.person.{locale.name}").Provider
        for attribute in dir(provider):
            if re.match("first_(romanized_)?names", attribute):
                names = getattr(provider, attribute)
                if not isinstance(names, property):  # one that joins lists which are read as well
                    yield from names


def fold(name: str) -> str:
    """Return a name in lower case without its accents: Zoë is zoe, Søren soren, Мария мария."""
    letters = unicodedata.normalize("NFKD", name.lower().translate(LETTERS))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def world_names() -> list[str]:
    """Return the folded names of 2 to 15 letters a-z, each once, sorted."""
    return sorted({name for name in map(fold, first_names()) if re.fullmatch("[a-z]{2,15}", name)})


if __name__ == "__main__":
    print(*world_names(), sep="\n")
