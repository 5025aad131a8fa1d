"""A published model at work: text goes on, token by token; a text is scored; two talk."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt import engines
from microgpt.arrays import Array
from microgpt.documents import surprises
from microgpt.engines.base import WholeReader
from microgpt.llm import floats
from microgpt.llm.pretrained import Pretrained
from microgpt.model import Score
from microgpt.sampling import Generator, Sampling, choose, probabilities

Message = dict[str, str]  # role: user, assistant or system; content
LIKELIEST = 5  # tokens that the lens shows
PART = "\N{REPLACEMENT CHARACTER}"  # stands for a character of which a token holds a part


class LanguageModel:
    """A published model on an engine: pytorch where it is installed, else scalar.

    Raises:
        ValueError: there is no such engine, it is not installed, or has no such option.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.tokenizer, self.architecture = pretrained.tokenizer, pretrained.architecture
        self._stops, self._special = pretrained.stops, pretrained.special
        self._template = pretrained.template
        self._last = {
            name: pretrained.params[name] for name in pretrained.params if "final_norm" in name
        }
        self._head = pretrained.params["wte" if pretrained.architecture.tied else "lm_head"]
        self._engine = engines.create_reader(
            engine, pretrained.architecture, pretrained.params, **options or {}
        )
        self._names = {token: name for name, token in pretrained.tokenizer.ids().items()}
        self._read: list[int] = []  # the tokens that the engine has seen

    def tokens(self, text: str) -> list[int]:
        """Return what the model reads for a text; for none, a token that begins or ends one.

        Raises:
            ValueError: there is no such token.
        """
        tokens = [*self.tokenizer.bos, *self.tokenizer.encode(text)] or sorted(self._stops)[:1]
        if not tokens:
            raise ValueError("the model has no token that begins a text; give it a beginning")
        return tokens

    def spell(self, token: int) -> str:
        """Return a token's text, or the name of one that is not text."""
        return self.tokenizer.decode([token]) or self._names.get(token, "")

    def generate(
        self,
        tokens: Sequence[int],
        most: int,
        sampling: Sampling,
        rng: Generator | None = None,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[str]:
        """Yield pieces of the text that follows tokens, until the model ends it.

        Args:
            tokens: what is read first.
            most: how many tokens there may be.
            sampling: how each of them is chosen.
            rng: where chance comes from.
            watch: called for each token read, with how many are and how many there are to read.

        Raises:
            ValueError: the tokens leave no room in what the model can see.
        """
        size = self.architecture.block_size
        if len(tokens) >= size:
            raise ValueError(f"the text has {len(tokens)} tokens; the model can see {size}")
        rng, logits = rng or random.Random(), self._continue(tokens, watch)
        new: list[int] = []
        shown = ""
        for _ in range(min(most, size - len(tokens))):
            token = choose(probabilities(logits, sampling), rng)
            if token in self._stops:
                break
            new.append(token)
            text = self.tokenizer.decode(new)
            if not text.endswith(PART):  # else the next tokens may complete the character
                yield text[len(shown) :]
                shown = text
            if len(new) < most:
                logits = self._step(token)
        if rest := self.tokenizer.decode(new)[len(shown) :]:
            yield rest

    def score(self, text: str) -> Score:
        """Return how likely the model holds each token of a text, given those before it.

        The first token is not scored, unless the tokenizer puts one before it.

        Raises:
            ValueError: there are less than two tokens, or more than the model can see.
        """
        tokens = [*self.tokenizer.bos, *self.tokenizer.encode(text)]
        if len(tokens) < 2:
            raise ValueError(f"{text!r} is a single token; there is nothing before it to go by")
        self._read = []
        logits = self._engine.inspect(tokens[:-1])["logits"].tolist()
        return Score(
            text,
            [self.spell(token) for token in tokens[1:]],
            surprises(logits, tokens),
            math.log(self.architecture.vocab_size),
            None,
            "",
        )

    def inspect(self, text: str) -> dict[str, Any]:
        """Return what the model computes of a text, as arrays.

        Returns:
            what Reader.inspect does (attention of every layer and head, the residual stream, ...);
            tokens: the texts of the T tokens;
            lens (n_layer + 1, T, 5): the likeliest next tokens before each layer and after the
            last, the stream there read as if it were the end (the logit lens, nostalgebraist 2020);
            lens_probs: their probabilities.

        Raises:
            ValueError: there are more tokens than the model can see.
        """
        tokens = self.tokens(text)
        self._read = []
        seen: dict[str, Any] = self._engine.inspect(tokens)
        probs = [self.lens(stream) for stream in seen["residual"]]
        best = [_likeliest(row) for row in probs]
        texts = [[[self.spell(token) for token in ids] for ids in row.tolist()] for row in best]
        seen["tokens"] = [self.spell(token) for token in tokens]
        seen["lens"] = np.array(texts)
        seen["lens_probs"] = np.array(
            [np.take_along_axis(row, ids, -1) for row, ids in zip(probs, best, strict=True)]
        )
        return seen

    def lens(self, stream: Array) -> Array:
        """Return (T, vocab_size): the next token's probabilities if the model ended at a stream."""
        last = {name: numbers.tolist() for name, numbers in self._last.items()}
        norm, a = floats.read().norm, self.architecture
        normed = [norm(x, last, "final_norm", a) if a.final_norm else x for x in stream.tolist()]
        logits = (np.array(normed, self._head.dtype) @ self._head.T).astype(float)
        exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(exps / exps.sum(axis=-1, keepdims=True))

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a conversation in which it is the model's turn.

        Raises:
            ValueError: there is no template, it fails, or the library that reads it is missing.
        """
        if self._template is None:
            raise ValueError("the model has no chat template")
        try:
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise ValueError(
                "a chat template takes the library jinja2; pip install 'microgpt-lab[llm]'"
            ) from None
        environment: Any = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        try:
            text = environment.from_string(self._template).render(
                messages=list(messages), add_generation_prompt=True, **self._special
            )
        except Exception as error:  # whatever a template, which is a program, may raise
            raise ValueError(f"the model's chat template failed: {error}") from None
        return self.tokenizer.encode(text)

    @property
    def converses(self) -> bool:
        """Whether the model has a template for conversations."""
        return self._template is not None

    def _continue(self, tokens: Sequence[int], watch: Callable[[int, int], None]) -> list[float]:
        """Read tokens, but those at the beginning that were just read; return the last's logits."""
        if self._read != tokens[: len(self._read)] or len(self._read) >= len(tokens):
            self._engine.reset()
            self._read = []
        left = tokens[len(self._read) :]
        if isinstance(self._engine, WholeReader):
            watch(0, len(left))
            logits: list[float] = self._engine.read(left).tolist()
            self._read += left
        else:
            for done, token in enumerate(left):
                watch(done, len(left))
                logits = self._step(token)
        watch(len(left), len(left))
        return logits

    def _step(self, token: int) -> list[float]:
        logits: list[float] = self._engine.step(token).tolist()
        self._read.append(token)
        return logits


def _likeliest(probs: Array) -> NDArray[np.intp]:
    """Return (T, 5): the likeliest tokens of each row (T, vocab_size), the likeliest first."""
    few = min(LIKELIEST, probs.shape[-1])
    found = np.argpartition(-probs, few - 1, axis=-1)[:, :few]  # to sort all takes seconds
    order = np.argsort(-np.take_along_axis(probs, found, -1), axis=-1, kind="stable")
    return np.take_along_axis(found, order, -1)


def _refuse(message: str) -> None:
    raise ValueError(message)
