"""A published model: a folder of Hugging Face or a GGUF file, its weights and its tokenizer.

One of ours can be looked at in the same way.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microgpt.checkpoint import Checkpoint
from microgpt.llm import families, gguf_files, subwords
from microgpt.llm.architecture import Architecture
from microgpt.llm.families import Params
from microgpt.llm.safetensors_files import load_json
from microgpt.llm.subwords import Subwords
from microgpt.tokenizer import SubwordTokenizer, Tokenizer, create


@dataclass(frozen=True)
class Pretrained:
    """What a folder or a file holds."""

    architecture: Architecture
    params: Params
    tokenizer: Subwords
    stops: frozenset[int]  # tokens that end a text
    template: str | None = None  # how a conversation is written down, in Jinja
    special: Mapping[str, str] = field(default_factory=dict)  # what the template calls bos_token...


def is_one(path: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to a folder or a GGUF file: to no file of ours."""
    return Path(path).is_dir() or Path(path).suffix.lower() == ".gguf"


def load(path: str | os.PathLike[str]) -> Pretrained:
    """Read a folder, a GGUF file, or a file that train wrote.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is not understood in every part, or does not fit the memory.
    """
    place = Path(path)
    if not is_one(place):
        return _ours(Checkpoint.load(place))
    found = _folder(place) if place.is_dir() else _gguf(place)
    size = found.architecture.vocab_size
    token, last = max(found.tokenizer.ids().items(), key=lambda item: item[1], default=("", -1))
    if last >= size:
        raise ValueError(
            f"{path}: the tokenizer does not fit the model: its token {token!r} has the id {last}, "
            f"and the model knows 0 to {size - 1}"
        )
    return found


class Ours:
    """The tokenizer of a model of ours, as those of published models are asked."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self.bos = tokenizer, [tokenizer.bos]

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids."""
        return self._tokenizer.ids(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, BOS left out."""
        return self._tokenizer.decode([t for t in tokens if t != self._tokenizer.bos])

    def ids(self) -> Mapping[str, int]:
        """Return the id of the token that is not text."""
        return {"BOS": self._tokenizer.bos}

    def settings(self) -> dict[str, Any]:
        """Return what a tokenizer.json holds; raises ValueError if there is none."""
        if isinstance(self._tokenizer, SubwordTokenizer):
            settings: dict[str, Any] = json.loads(self._tokenizer.settings)
            return settings
        raise ValueError("a tokenizer of characters is not in a tokenizer.json")


def _ours(checkpoint: Checkpoint) -> Pretrained:
    tokenizer = create(checkpoint.vocabulary, ())
    params = dict(checkpoint.model().state)
    stops = frozenset([tokenizer.bos])
    return Pretrained(Architecture.of(checkpoint.config), params, Ours(tokenizer), stops)


def architecture(path: str | os.PathLike[str]) -> Architecture:
    """Return a model's architecture alone, without weights and tokenizer; raises as load does."""
    place = Path(path)
    if place.is_dir():
        return families.describe(place)
    with _gguf_file(place) as (found, _, _):
        return found


def _folder(folder: Path) -> Pretrained:
    found, params = families.load(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder} holds no tokenizer.json")
    settings: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= load_json(folder / name)
    template = settings.get("chat_template")
    if (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text("utf-8")
    stops = settings.get("eos_token_id")
    special = {name: _text(settings.get(name)) for name in ("bos_token", "eos_token")}
    return Pretrained(
        found,
        params,
        subwords.load(folder / "tokenizer.json"),
        frozenset(stops if isinstance(stops, list) else [] if stops is None else [stops]),
        template if isinstance(template, str) else None,
        special,
    )


def _gguf(path: Path) -> Pretrained:
    with _gguf_file(path) as (found, tensors, given):
        families.check_memory(found)
        tokens, end = given["tokenizer.ggml.tokens"], given.get("tokenizer.ggml.eos_token_id")
        return Pretrained(
            found,
            gguf_files.parameters(tensors, found),
            gguf_files.tokenizer(given),
            frozenset() if end is None else frozenset([end]),
            given.get("tokenizer.chat_template"),
            {
                f"{which}_token": tokens[given[f"tokenizer.ggml.{which}_token_id"]]
                for which in ("bos", "eos")
                if f"tokenizer.ggml.{which}_token_id" in given
            },
        )


@contextmanager
def _gguf_file(path: Path) -> Iterator[tuple[Architecture, dict[str, Any], dict[str, Any]]]:
    """Give a file's architecture, tensors and fields; an error in what follows names the file."""
    with open(path, "rb"):  # says what is wrong with the path in the system's own words
        pass
    try:
        reader, given = gguf_files.fields(path)
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        yield (
            gguf_files.architecture(given, tied="output.weight" not in tensors),
            tensors,
            given,
        )
    except ImportError as error:
        raise ValueError(
            f"{path} takes the library {error.name}; pip install 'microgpt-lab[llm]'"
        ) from None
    except Exception as error:  # a file that lies makes the library raise whatever it meets
        reason = f"{type(error).__name__}: {error}"
        reason = str(error) if isinstance(error, ValueError) else reason
        raise ValueError(f"{path} is not a model that microgpt can read: {reason}") from None


def _text(token: Any) -> str:
    """Return how a special token is written: tokenizer_config.json has it as text or an object."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
