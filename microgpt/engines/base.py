"""The one protocol that every engine speaks: what it means to run and to train a model.

A document is a list of token ids; what lies past block_size + 1 tokens is not read. A batch is a
list of documents. The loss of a document is the mean over its n = min(len - 1, block_size)
positions of -log p(next token), in nats; that of a batch is the mean over its documents. `weights`,
where given, holds a list for each document with a number for each position, and the weighted sum
takes the place of the mean (which is a weight of 1/n everywhere).

An engine serves one thread at a time, because `reset` and `step` share a place in a document. Who
shares one among threads locks it, as Model does. A copy (pickle, copy.deepcopy) has the same state,
and is at position 0.
"""

import math
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from microgpt import gpt
from microgpt.arrays import Array, State, array, reshape
from microgpt.config import GPTConfig
from microgpt.documents import Batch, Document, Weights
from microgpt.llm.architecture import Architecture

MOST_PARAMS = 100_000_000  # drawn one at a time, as gpt.py does: a minute or two


@runtime_checkable
class Engine(Protocol):
    """Runs a model: one token at a time, or a whole document to look inside."""

    config: GPTConfig

    def reset(self) -> None:
        """Forget the tokens seen: the next step is at position 0."""

    def step(self, token_id: int) -> Array:
        """Read one token; return the logits (vocab_size,) of the next.

        Raises:
            ValueError: the token is not in the vocabulary, or block_size tokens were read already.
        """

    def inspect(self, tokens: Document) -> dict[str, Array]:
        """Run T tokens from position 0 and return what the model computed on the way.

        Returns:
            logits (T, vocab_size); probs (T, vocab_size): their softmax;
            attention (n_layer, n_head, T, T): [.., t, s] is how much position t takes from s;
            residual (n_layer + 1, T, n_embd): the stream before each layer, and after the last;
            hidden (n_layer, T, 4 n_embd): the MLP's units after their ReLU.

        Raises:
            ValueError: there are no tokens, more than block_size, or one outside the vocabulary.
        """


class Reader(Protocol):
    """Runs a model of any architecture; what is said of Engine holds, of this config's names."""

    config: Architecture

    def reset(self) -> None:
        """Forget the tokens seen."""

    def step(self, token_id: int) -> Array:
        """Read one token; return the logits (vocab_size,) of the next."""

    def inspect(self, tokens: Document) -> dict[str, Array]:
        """Return what Engine.inspect does; no `hidden` where there are experts."""


@runtime_checkable
class WholeReader(Reader, Protocol):
    """A reader that reads many tokens at once faster than one by one."""

    def read(self, tokens: Document) -> Array:
        """Read tokens; return the logits (vocab_size,) after the last."""


@runtime_checkable
class Learner(Reader, Protocol):
    """A reader that can also learn; what is said of TrainableEngine holds."""

    def train(self, batches: Sequence[Batch], learning_rates: Sequence[float]) -> list[float]:
        """Take one Adam step a batch; return each batch's loss before its step (nats/token)."""

    def loss(self, batch: Batch) -> float:
        """Return the loss of a batch (nats/token)."""

    def state(self) -> dict[str, Array]:
        """Return copies of the parameters."""


@runtime_checkable
class TrainableEngine(Engine, Protocol):
    """An engine that can also learn."""

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        """Take one Adam step a batch; return each batch's loss before its step (nats/token).

        Raises:
            ValueError: a batch or document is empty, a token is outside the vocabulary, the
                lengths of the arguments disagree, or the run has diverged: a next token has a
                probability below what a float64 holds, or a loss is not finite.
        """

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        """Return the loss of a batch (nats/token); raises as train does."""

    def losses(self, batch: Batch) -> list[list[float]]:
        """Return -log p of every position of every document (nats); raises as train does."""

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        """Return d loss / d parameter for each parameter, by its name; raises as train does."""

    def state(self) -> dict[str, Array]:
        """Return copies of the parameters, adam.m.NAME, adam.v.NAME, and adam.t (steps taken)."""

    def load(self, state: State) -> None:
        """Take over a state; without its adam entries, the optimizer starts afresh.

        Raises:
            ValueError: a name is missing or unknown, a shape is wrong, a number is not finite.
        """


@runtime_checkable
class BulkEngine(Engine, Protocol):
    """An engine that samples many documents at a time by itself."""

    def sample_many(
        self,
        count: int,
        seed: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        prefix: Sequence[int],
    ) -> list[list[int]]:
        """Return what sampling.sample_many returns: a document from each stream of the seed."""


class Process(NamedTuple):
    """Which process this is, of those that train one model together."""

    rank: int = 0
    size: int = 1
    restarts: int = 0  # how often all were started again, after one was gone


def process() -> Process:
    """Return which process this is: torchrun says so in the environment."""
    names = {"rank": "RANK", "size": "WORLD_SIZE", "restarts": "TORCHELASTIC_RESTART_COUNT"}
    return Process(
        **{
            name: int(os.environ.get(its, Process._field_defaults[name]))
            for name, its in names.items()
        }
    )


class PeerLost(OSError):
    """Another process of the run is gone, or does not answer."""


@runtime_checkable
class ManyProcessEngine(TrainableEngine, Protocol):
    """An engine that can train in many processes at a time; all call the same in the same order."""

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Return, for each flag, whether any process has raised it."""

    def save(self, folder: str, metadata: Mapping[str, str]) -> None:
        """Write the state to a folder, each process its part, and the metadata of a checkpoint.

        Raises:
            OSError: it cannot be written, or a process is gone; the last one saved is still whole.
        """


def initial_state(config: GPTConfig, rng: random.Random) -> dict[str, Array]:
    """Draw fresh parameters, the numbers and the order of gpt.init, as (outputs, inputs) arrays.

    Raises:
        ValueError: there are too many to draw one by one.
    """
    if config.n_params > MOST_PARAMS:
        raise ValueError(
            f"this model has {config.n_params:,} parameters; the limit is {MOST_PARAMS:,}; "
            "make n_embd, n_layer, block_size or the vocabulary smaller"
        )
    params = gpt.init(config, rng)
    return {name: array([[p.data for p in row] for row in rows]) for name, rows in params.items()}


def initial_params(architecture: Architecture, rng: random.Random) -> dict[str, Array]:
    """Draw fresh parameters of any architecture: gains 1, biases 0, the rest as gpt.init does."""

    def draw(name: str) -> float:
        return 1.0 if name.endswith("norm") else 0.0 if "bias" in name else rng.gauss(0, 0.08)

    return {
        name: reshape(array([draw(name) for _ in range(math.prod(shape))]), shape)
        for name, shape in architecture.shapes()
    }


def by_name(config: GPTConfig, numbers: Any, prefix: str = "") -> dict[str, Array]:
    """Return a flat row of numbers, in gpt.py's order, as arrays by the parameters' names."""
    arrays, start = {}, 0
    for name, shape in config.shapes():
        end = start + math.prod(shape)
        arrays[prefix + name] = reshape(numbers[start:end], shape)
        start = end
    return arrays
