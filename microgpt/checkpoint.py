"""A model, or a run in the middle, in one safetensors file.

The tensors have the engines' names (`wte`, `layer0.attn_wq`, `adam.m.wte`, `adam.t`); the metadata
is `format` ("microgpt 1") and, as JSON, `config`, `vocabulary` and `training`, the run's record. A
model is a checkpoint without `adam.*`. The vocabulary is a string of characters; a tokenizer.json
takes its place as an object of that `type`, with its `name` and, as `settings`, what it holds.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.arrays import BROWSER, State, finite, shape
from microgpt.config import GPTConfig
from microgpt.tokenizer import SubwordTokenizer, Vocabulary, characters, shorten

if not BROWSER:  # there, models come as JSON
    import numpy as np
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save as to_safetensors

FORMAT = "microgpt 1"
SUBWORDS = "tokenizer.json"
SHIPPED = Path(__file__).parent / "data" / "model.safetensors"  # small, and trained


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    Raises:
        ValueError: the parts do not fit each other.
    """

    config: GPTConfig
    vocabulary: Vocabulary  # its characters in the order of their ids, or its tokens; BOS follows
    state: State  # parameters (outputs, inputs) by name; adam.* too if the run is to go on
    training: dict[str, Any] = field(default_factory=dict)  # the record of the run: JSON

    def __post_init__(self) -> None:
        if isinstance(self.vocabulary, str):
            count, what = len(set(self.vocabulary)), "characters"
        else:
            count, what = self.vocabulary.bos, "tokens"
        if count + 1 != self.config.vocab_size:
            raise ValueError(
                f"a vocabulary of {count} {what} and BOS does not make "
                f"the config's vocab_size {self.config.vocab_size}"
            )
        check_state(self.config, self.state)

    @property
    def characters(self) -> str:
        """Its vocabulary; raises ValueError if its tokens are not characters."""
        return characters(self.vocabulary)

    def model(self) -> "Checkpoint":
        """Return the model alone, without the state of its training."""
        state = {name: self.state[name] for name, _ in self.config.shapes()}
        return Checkpoint(self.config, self.vocabulary, state, self.training)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint to a file, whole or not at all.

        Raises:
            OSError: the file cannot be written; what was there before is untouched.
        """
        tensors = {name: np.asarray(array, order="C") for name, array in self.state.items()}
        said = metadata(self.config, self.vocabulary, self.training)
        files.write(path, to_safetensors(tensors, said))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a file, trusting nothing in it.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a safetensors file, not one of ours, or its parts disagree.
        """
        with open(path, "rb"):  # says what is wrong with the path in the system's own words
            pass
        try:
            with safe_open(path, framework="numpy") as file:
                config, vocabulary, training = parse(file.metadata() or {})
                state = {}
                for name in file.keys():  # noqa: SIM118 (it is not a dict)
                    dtype = file.get_slice(name).get_dtype()
                    if dtype not in ("F32", "F64"):
                        raise ValueError(f"tensor {name} holds {dtype} numbers, not F32 or F64")
                    state[name] = file.get_tensor(name)
            return cls(config, vocabulary, state, training)
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
            SafetensorError,
        ) as error:
            raise ValueError(f"{path} is not a model that microgpt can use: {error}") from None


def metadata(config: GPTConfig, vocabulary: Vocabulary, training: dict[str, Any]) -> dict[str, str]:
    """Return what a file says beside its tensors."""
    said: Any = vocabulary
    if isinstance(vocabulary, SubwordTokenizer):
        settings = json.loads(vocabulary.settings)
        said = {"type": SUBWORDS, "name": vocabulary.name, "settings": settings}
    return {
        "format": FORMAT,
        "config": json.dumps(asdict(config)),
        "vocabulary": json.dumps(said),
        "training": json.dumps(training),
    }


def parse(metadata: Mapping[str, str]) -> tuple[GPTConfig, Vocabulary, dict[str, Any]]:
    """Return the config, the vocabulary and the training record that a file's metadata hold.

    Raises:
        KeyError, TypeError, ValueError: it is not ours, or a part is not what it must be.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    config, vocabulary, training = (
        json.loads(metadata[name]) for name in ("config", "vocabulary", "training")
    )
    if isinstance(vocabulary, dict) and "type" in vocabulary:
        if vocabulary["type"] != SUBWORDS:
            raise ValueError(
                f"its tokenizer is of the type {shorten(str(vocabulary['type']))}, which this "
                f"version does not know; it knows characters, and {SUBWORDS}"
            )
        name = str(vocabulary["name"])
        vocabulary = SubwordTokenizer(json.dumps(vocabulary["settings"]), name)
    if not isinstance(vocabulary, str | SubwordTokenizer) or not isinstance(training, dict):
        raise ValueError("the vocabulary must be a string and the training record a JSON object")
    return GPTConfig(**config), vocabulary, training


def check_state(config: GPTConfig, state: State) -> None:
    """Raise ValueError unless a state is that of a model of this config, every number finite."""
    missing = next((name for name, _ in config.shapes() if name not in state), None)
    if missing:
        raise ValueError(f"parameter {missing} is missing")
    shapes: dict[str, tuple[int, ...]] = dict(config.shapes())
    if any(name.startswith("adam.") for name in state):
        shapes |= {f"adam.{which}.{name}": s for which in "mv" for name, s in config.shapes()}
        shapes["adam.t"] = ()
    for prefix in ("unrounded.", "rounding."):  # what QuantizationAware adds
        if any(name.startswith(prefix) for name in state):
            shapes |= {prefix + name: s for name, s in config.shapes()}
    if unlike := sorted(shapes.keys() ^ state.keys()):
        raise ValueError(f"tensor {unlike[0]} is missing or does not belong there")
    for name, array in state.items():
        if shape(array) != shapes[name]:
            raise ValueError(f"tensor {name} has the shape {shape(array)}, not {shapes[name]}")
        if not finite(array):
            raise ValueError(f"tensor {name} holds NaN or infinite numbers")
        if name.startswith(("adam.v.", "adam.t")) and not finite(array, positive=True):
            raise ValueError(f"tensor {name} holds negative numbers")
    if (t := float(state.get("adam.t", 0.0))) % 1 or t > 2**53:
        raise ValueError(f"adam.t is {t}; it counts steps, in whole numbers")
