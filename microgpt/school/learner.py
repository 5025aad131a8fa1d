"""A gpt.py, or a variant of it, that learns from some documents and is judged on others."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType

from microgpt import dataset
from microgpt.school.program import Program

STEPS = 1000  # as many as main() takes
LONGEST = 16  # characters of a name made of pairs
SHARE = 0.05  # of the documents, held out


class Learner:
    """A gpt.py that learns as its main() does, but for documents that are held out."""

    def __init__(
        self, module: ModuleType, documents: Sequence[str], seed: int = 42, steps: int = STEPS
    ) -> None:
        """Begin from the parameters that the module's init() draws."""
        self.module, self.rng = module, random.Random(seed)
        self.step_count, self.steps = 0, steps
        parts = dataset.split(documents, SHARE)
        self.rng.shuffle(parts.train)
        self.train, self.test = parts.train, parts.test
        self.alphabet = "".join(sorted(set("".join(documents))))
        self.config = module.Config(
            len(self.alphabet) + 1, n_layer=1, n_embd=16, n_head=4, block_size=16
        )
        self.params = module.init(self.config, self.rng)
        self.weights = module.flat(self.params)
        self.m, self.v = [0.0] * len(self.weights), [0.0] * len(self.weights)

    def step(self) -> float:
        """Take a step; return the loss before it, as the module's loss() has it.

        Raises:
            ValueError: the loss is not a finite number.
        """
        document = self.train[self.step_count % len(self.train)]
        tokens = self.module.encode(document, self.alphabet)
        loss = self.module.loss(self.params, self.config, tokens)
        loss.backward()
        lr = 0.01 * (1 - self.step_count / self.steps)
        self.module.adam(self.weights, self.m, self.v, self.step_count, lr)
        self.step_count += 1
        if not math.isfinite(loss.data):
            raise ValueError(f"in step {self.step_count} the loss is {loss.data}")
        return float(loss.data)

    def held_out(self, count: int) -> float:
        """Return the mean loss of documents never learned from (nats a character, the end too).

        It is computed here: the module's loss() may be what was edited. Its encode() is used, so
        that another tokenizer is judged by the tokens it has learned.

        Raises:
            ValueError: decode() does not give back what encode() took, so that a loss says nothing.
        """
        fitting = [text for text in self.test if len(text) < self.config.block_size][:count]
        return sum(map(self._loss, fitting)) / len(fitting)

    def _loss(self, text: str) -> float:
        keys, values = self.module.cache(self.config)
        tokens, total = self.module.encode(text, self.alphabet), 0.0
        if self.module.decode(tokens[1:-1], self.alphabet) != text:
            raise ValueError(
                f"decode() does not give back {text!r} from encode()'s tokens {tokens}"
            )
        for pos_id, (token, target) in enumerate(pairwise(tokens)):
            logits = self.module.gpt(self.params, self.config, token, pos_id, keys, values)
            numbers = [float(z.data) for z in logits]
            largest = max(numbers)
            total += math.log(sum(math.exp(z - largest) for z in numbers))
            total += largest - numbers[target]
        return total / (len(text) + 1)

    def names(self, count: int) -> list[str]:
        """Return some names that the module makes now, the same at every call."""
        rng, sample = random.Random(42), self.module.sample
        return [
            self.module.decode(sample(self.params, self.config, rng), self.alphabet)
            for _ in range(count)
        ]


def pair_names(program: Program, documents: Sequence[str], count: int) -> list[str]:
    """Return names made of a learner's bigram alone: each letter knows only the one before it."""
    alphabet = "".join(sorted(set("".join(documents))))
    bos, rng = len(alphabet), random.Random(42)
    table = program.bigram([program.encode(text, alphabet) for text in documents], bos + 1)
    names = []
    for _ in range(count):
        tokens = [bos]
        while len(tokens) == 1 or (tokens[-1] != bos and len(tokens) <= LONGEST):
            tokens += rng.choices(range(bos + 1), table[tokens[-1]])
        names.append(program.decode([token for token in tokens if token != bos], alphabet))
    return names
