"""Documents that begin with a prompt, and models that learn characters they did not have."""

import random
from collections.abc import Iterable, Sequence

from microgpt.arrays import Array, array
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.documents import Document
from microgpt.engines.base import Engine
from microgpt.sampling import Sampling, sample_many
from microgpt.tokenizer import Tokenizer

MARK = "\t"  # in a file, between a prompt and its completion; the model does not read it


class Completion(list[int]):
    """A document [BOS, prompt, completion, BOS] of which `given` tokens are the prompt."""

    def __init__(self, tokens: Iterable[int], given: int = 0) -> None:
        super().__init__(tokens)
        self.given = given


def given(document: Document) -> int:
    """Return how many tokens of a document are its prompt: so many first positions weigh 0."""
    return document.given if isinstance(document, Completion) else 0


def cut(document: Document, block_size: int) -> Document:
    """Return a document as far as a model reads it."""
    return Completion(document[: block_size + 1], given(document))


def encode(line: str, tokenizer: Tokenizer, block_size: int) -> Completion:
    """Return a line `prompt<TAB>completion`, or one without a prompt, as a document.

    Raises:
        ValueError: the line has a second TAB, an empty completion, a character that the
            vocabulary lacks, or a prompt that leaves no position for the completion.
    """
    prompt, mark, completion = line.rpartition(MARK)
    if MARK in prompt or (mark and not completion):
        raise ValueError(f"{line!r} must be prompt<TAB>completion, with one TAB, or have no TAB")
    document = Completion(tokenizer.encode(prompt + completion), len(prompt))
    if document.given >= block_size:
        raise ValueError(
            f"the prompt {prompt!r} fills all {block_size} positions of the model and leaves none "
            "to learn; shorten it, or train a model of a larger block_size"
        )
    return document


def complete(
    engine: Engine, prompt: Sequence[int], count: int, seed: int, sampling: Sampling
) -> list[Completion]:
    """Return documents that begin with a prompt, as the model reads them; not all may end."""
    bos = engine.config.vocab_size - 1
    drawn = sample_many(engine, count, seed, sampling, prompt)
    whole = ([bos, *tokens, bos][: engine.config.block_size + 1] for tokens in drawn)
    return [Completion(tokens, len(prompt)) for tokens in whole]


def text(document: Document, tokenizer: Tokenizer) -> str:
    """Return a document as a reward reads it: prompt and completion, without BOS."""
    return tokenizer.decode([token for token in document if token != tokenizer.bos])


def grow(model: Checkpoint, vocabulary: str) -> Checkpoint:
    """Return a model that also knows the characters of a vocabulary; its old rows are unchanged.

    The new characters follow the old ones, BOS stays last. Their rows of wte and lm_head are drawn
    as gpt.init draws, always the same for the same characters.
    """
    new = "".join(sorted(set(vocabulary) - set(model.characters)))
    if not new:
        return model.model()
    rng, n_embd = random.Random(new), model.config.n_embd
    state = dict(model.model().state)
    for name in ("wte", "lm_head"):
        state[name] = _inserted(
            state[name], [[rng.gauss(0, 0.08) for _ in range(n_embd)] for _ in new]
        )
    sizes = vars(model.config) | {"vocab_size": model.config.vocab_size + len(new)}
    return Checkpoint(GPTConfig(**sizes), model.characters + new, state, model.training)


def _inserted(matrix: Array, rows: list[list[float]]) -> Array:
    """Return a matrix with rows put before its last one, that of BOS."""
    old = matrix.tolist()
    return array([*old[:-1], *rows, old[-1]])
