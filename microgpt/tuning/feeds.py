"""What post-training learns from: examples, its own documents and their rewards, or preferences.

Each is a feed of `training.Run`: the loop, checkpoints and resuming are those of pretraining.

    run = Run(Reinforcement(reference, "vowel"), Settings(200, 0.003), start=reference.checkpoint)
"""

import random
from collections.abc import Sequence
from typing import Any

from microgpt.config import number, whole
from microgpt.dataset import Dataset, parts, split
from microgpt.documents import Batch, Document, Weights
from microgpt.engines.base import Engine, TrainableEngine
from microgpt.feed import Feed, Pretraining, cycle
from microgpt.rewards import Reward, judge
from microgpt.rewards.builtin import answers
from microgpt.sampling import Sampling
from microgpt.tokenizer import Tokenizer
from microgpt.tuning.algorithms import Rows, dpo, reinforce, rejection, sft
from microgpt.tuning.completions import MARK, Completion, complete, cut, encode, given, text
from microgpt.tuning.reference import Reference
from microgpt.tuning.weights import forbid_unfinished

AS_IT_IS = Sampling(temperature=1.0)  # what is learned from is what the model itself would say


class Tuning(Feed):
    """What every feed of post-training has: a model it begins with, and what it is measured by."""

    reference: Reference
    reward: Reward | None = None  # what a document is worth
    name: str = ""  # of the reward
    questions: Sequence[str] = ()  # prompts to measure it by, held out where some are


class FineTuning(Pretraining, Tuning):
    """Supervised fine-tuning: documents of another kind, and some of the old ones if asked.

    A line `prompt<TAB>completion` is learned from its completion alone. Without prompts and replay
    this is pretraining, to the bit.

    Args:
        dataset: the new documents.
        reference: the model that it begins with, which knows every character of the documents.
        batch, val, seed: as in Pretraining.
        replay: share of each batch that comes from the old documents.
        old: what the model learned from before, where some of it is to be replayed.
        old_val: share of it that was held out, and is not replayed.

    Raises:
        ValueError: a setting is outside its range, or a line cannot be learned.
    """

    def __init__(
        self,
        dataset: Dataset,
        reference: Reference,
        batch: int = 32,
        val: float = 0.0,
        seed: int = 42,
        replay: float = 0.0,
        old: Dataset | None = None,
        old_val: float = 0.0,
    ) -> None:
        self.block_size = reference.checkpoint.config.block_size
        self.reference, self.old, self.old_val = reference, old, old_val
        super().__init__(dataset, batch, val, seed, reference.checkpoint.characters)
        self.replay = number("replay", replay)
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay is {replay}; it must be at least 0 and less than 1")
        if self.replay and not old:
            raise ValueError("replay needs the old documents")
        again = parts(old, old_val).train if old and self.replay else []
        self.rng.shuffle(again)
        self.replayed: list[Document] = [self.encode(document) for document in again]
        prompted = [line for line in dataset.documents if MARK in line]
        self.is_plain = not self.replay and not prompted
        if prompted:
            self.reward, self.name = answers(prompted), "right answers"
            asked = [d for d in (self.test or self.documents) if given(d)]
            prompts = (self.tokenizer.decode(d[1 : given(d) + 1]) for d in asked)
            self.questions = list(dict.fromkeys(prompts))

    def encode(self, line: str) -> Completion:
        """Return a line as a document; raises ValueError where it cannot be learned."""
        return encode(line, self.tokenizer, self.block_size)

    def batch(self, step: int, engine: Engine | None = None) -> tuple[Batch, Weights | None]:
        """Return the documents of a step, the replayed ones last: the same ones for every call."""
        replayed = round(self.replay * self.batch_size)
        new = self.batch_size - replayed
        batch = cycle(self.documents, step * new, new)
        batch += cycle(self.replayed, step * replayed, replayed)
        return batch, self.weigh(batch)

    def weigh(self, batch: Batch) -> Weights | None:
        """Return the weights of documents: their completions alone."""
        if self.is_plain:
            return None
        read = [cut(document, self.block_size) for document in batch]
        return sft(read, [1.0] * len(read))[1]

    def record(self) -> dict[str, Any]:
        """Return where the documents are and how they are used."""
        record = super().record() | {"kind": "fine-tuning", "replay": self.replay}
        if self.old:
            old = {"old": self.old.name, "old_sha256": self.old.sha256, "old_val": self.old_val}
            record |= old
        return record | self.reference.record()


class Reinforcement(Tuning):
    """Reinforcement learning: the model's own documents, weighed by what a reward says of them.

    Documents that do not end within block_size earn the least of the batch, and 0 at most: else a
    document that never ends is a hole in many a reward.

    Args:
        reference: the model that it begins with, and stays near to.
        reward: what a document is worth.
        name: what the reward is called in the record, from which it is made again.
        beta: what a nat of KL to the reference costs.
        batch: documents a step.
        prompts: what documents begin with; the same number of each step's documents for each of
            `batch / group` prompts. Without prompts, all begin from nothing.
        group: documents that answer one prompt, and are compared with each other.
        val: share of the prompts held out, and again for test.
        seed: of the prompts and the documents.
        ended: whether documents must end.

    Raises:
        ValueError: a setting is outside its range, or the vocabulary lacks a character.
    """

    kind = "reinforcement"
    on_policy = True
    reward: Reward

    def __init__(
        self,
        reference: Reference,
        reward: Reward,
        name: str = "",
        beta: float = 0.05,
        batch: int = 128,
        prompts: Dataset | None = None,
        group: int = 8,
        val: float = 0.0,
        seed: int = 42,
        ended: bool = True,
    ) -> None:
        self.reference, self.reward, self.name, self.ended = reference, reward, name, ended
        self.tokenizer = Tokenizer(reference.checkpoint.characters)
        self.block_size = reference.checkpoint.config.block_size
        self.batch_size, self.group = whole("batch", batch, 2), whole("group", group, 2)
        self.seed = whole("seed", seed, least=0)
        self.rng = random.Random(self.seed)  # of the names at the end: a step has its own streams
        self.beta, self.fraction = number("beta", beta), number("val", val)
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta is {beta}; it must be 0 or more, and finite")
        self.asked, self.prompts = prompts, [""]
        if prompts is None:
            self.group = self.batch_size
        else:
            self._take(prompts)
        self.seen: dict[str, float] = {}

    def _take(self, prompts: Dataset) -> None:
        """Take the prompts of a list, whose lines may hold answers too; hold some out."""
        texts = list(dict.fromkeys(line.partition(MARK)[0] for line in prompts.documents))
        for prompt in texts:
            if len(self.tokenizer.ids(prompt)) >= self.block_size:
                raise ValueError(
                    f"the prompt {prompt!r} fills all {self.block_size} positions of the model; "
                    "shorten it"
                )
        found = split(texts, self.fraction) if self.fraction else None
        self.prompts = found.train if found else texts
        self.questions = found.val + found.test if found else texts  # nothing is chosen by val
        if self.batch_size % self.group:
            raise ValueError(
                f"batch is {self.batch_size}; it must be a multiple of group, {self.group}"
            )

    def batch(self, step: int, engine: Engine) -> tuple[Batch, Weights]:
        """Sample the documents of a step from the model, judge them, and weigh them."""
        assert isinstance(engine, TrainableEngine)
        batch = self._sample(step, engine)
        rewards = self._judge(batch)
        ratios, nats = self._compare(batch, engine)
        count = len(batch)
        self.seen = {
            "reward": sum(rewards) / count,
            "kl": sum(sum(row) for row in ratios) / count,
            "distinct": len(set(map(tuple, batch))) / count,
            "entropy": nats / count,
        }
        return self._weigh(batch, rewards, ratios)

    def measures(self) -> dict[str, float]:
        """Return the last batch's mean reward, KL (nats/document), distinct share and entropy."""
        return self.seen

    def record(self) -> dict[str, Any]:
        """Return what is rewarded, how, and where the prompts are."""
        asked = self.asked
        return {
            "kind": self.kind,
            "reward": self.name,
            "beta": self.beta,
            "batch": self.batch_size,
            "group": self.group,
            "val": self.fraction,
            "seed": self.seed,
            "ended": self.ended,
            "prompts": asked.name if asked else None,
            "prompts_sha256": asked.sha256 if asked else None,
        } | self.reference.record()

    def _weigh(self, batch: Batch, rewards: Sequence[float], ratios: Rows) -> tuple[Batch, Weights]:
        return reinforce(batch, rewards, ratios, self.beta, self.group)

    def _sample(self, step: int, engine: Engine) -> list[Completion]:
        """Return documents as the model reads them, those of a prompt side by side."""
        rng, batch = random.Random(f"{self.seed} {step}"), list[Completion]()
        for _ in range(self.batch_size // self.group):
            prompt = self.tokenizer.ids(rng.choice(self.prompts))
            batch += complete(engine, prompt, self.group, rng.getrandbits(64), AS_IT_IS)
        return batch

    def _judge(self, batch: Batch) -> list[float]:
        rewards = judge(self.reward, [text(document, self.tokenizer) for document in batch])
        if not self.ended:
            return list(rewards)
        return forbid_unfinished(rewards, [d[-1] == self.tokenizer.bos for d in batch])

    def _compare(self, batch: Batch, engine: TrainableEngine) -> tuple[Rows, float]:
        """Return log p - log p of the reference, position by position, and all -log p (nats)."""
        losses, old = engine.losses(batch), self.reference.losses(batch)
        nats = sum(sum(row[given(d) :]) for d, row in zip(batch, losses, strict=True))
        return differences(batch, losses, old), nats


class Rejection(Reinforcement):
    """Rejection sampling, or expert iteration: learn those of one's own documents that earn 1."""

    kind = "rejection"

    def _weigh(self, batch: Batch, rewards: Sequence[float], ratios: Rows) -> tuple[Batch, Weights]:
        return rejection(batch, rewards, ratios)


class Preferences(Tuning):
    """Direct preference optimization: pairs of documents, of which a person chose the first.

    Args:
        reference: the model that it begins with.
        pairs: lines chosen<TAB>rejected.
        beta: how near it stays to the reference: the greater, the nearer.
        batch: pairs a step.
        seed: of their order.

    Raises:
        ValueError: a setting is outside its range, or a line is not a pair.
    """

    on_policy = True  # the weights follow from how likely the documents are by now

    def __init__(
        self,
        reference: Reference,
        pairs: Dataset,
        beta: float = 0.5,
        batch: int = 64,
        seed: int = 42,
    ) -> None:
        self.reference, self.dataset = reference, pairs
        self.tokenizer = Tokenizer(reference.checkpoint.characters)
        self.batch_size, self.seed = whole("batch", batch, 1), whole("seed", seed, 0)
        self.beta = number("beta", beta)
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"beta is {beta}; it must be more than 0, and finite")
        self.rng = random.Random(self.seed)
        read = reference.checkpoint.config.block_size + 1
        self.pairs = [
            [self.tokenizer.encode(name)[:read] for name in pair] for pair in self.check(pairs)
        ]
        self.rng.shuffle(self.pairs)
        self.documents = [chosen for chosen, _ in self.pairs]
        self.seen: dict[str, float] = {}

    @staticmethod
    def check(pairs: Dataset) -> list[list[str]]:
        """Return the pairs in lines chosen<TAB>rejected; raises ValueError where one is none."""
        found = []
        for line in pairs.documents:
            pair = line.split(MARK)
            if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
                raise ValueError(
                    f"{pairs.name}: {line!r} is not a pair; give chosen<TAB>rejected, which differ"
                )
            found.append(pair)
        return found

    def batch(self, step: int, engine: Engine) -> tuple[Batch, Weights]:
        """Return the pairs of a step, each as two neighbours, and how hard they pull by now."""
        assert isinstance(engine, TrainableEngine)
        pairs = cycle(self.pairs, step * self.batch_size, self.batch_size)
        batch = [document for pair in pairs for document in pair]
        ratios = differences(batch, engine.losses(batch), self.reference.losses(batch))
        sums = [sum(row) for row in ratios]
        margins = [a - b for a, b in zip(sums[::2], sums[1::2], strict=True)]
        self.seen = {
            "won": sum((margin > 0) + (margin == 0) / 2 for margin in margins) / len(pairs),
            "chosen": sum(sums[::2]) / len(pairs),
            "rejected": sum(sums[1::2]) / len(pairs),
        }
        return dpo(batch, [1.0, 0.0] * len(pairs), ratios, self.beta)

    def measures(self) -> dict[str, float]:
        """Return the share of pairs won, and how likely both sides became (nats/document)."""
        return self.seen

    def record(self) -> dict[str, Any]:
        """Return where the pairs are and how they are used."""
        return {
            "kind": "preferences",
            "data": self.dataset.name,
            "sha256": self.dataset.sha256,
            "beta": self.beta,
            "batch": self.batch_size,
            "seed": self.seed,
        } | self.reference.record()


def differences(batch: Batch, losses: Rows, reference: Rows) -> Rows:
    """Return log p - log p of the reference at every position (nats); 0 where it was given."""
    rows = [
        [b - a for a, b in zip(*pair, strict=True)] for pair in zip(losses, reference, strict=True)
    ]
    return [[0.0] * given(d) + row[given(d) :] for d, row in zip(batch, rows, strict=True)]
