"""What a model has become: what it forgot, what it gained, how far it went, how varied it is."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from microgpt.config import whole
from microgpt.dataset import Split
from microgpt.documents import Batch
from microgpt.engines.base import TrainableEngine
from microgpt.model import Model
from microgpt.rewards import Reward, judge
from microgpt.sampling import Sampling
from microgpt.tuning import lineage
from microgpt.tuning.algorithms import sft
from microgpt.tuning.completions import Completion, complete, cut, encode, given, text
from microgpt.tuning.feeds import Tuning
from microgpt.tuning.lineage import texts

NEAREST = 5  # documents of which the nearest learned one is looked for


@dataclass(frozen=True)
class Report:
    """What was measured of a model, from documents that it samples at temperature 1."""

    documents: int
    losses: dict[str, float]  # on documents of each list (nats/token); held out, where some are
    reward: float | None  # the mean
    reward_interval: tuple[float, float] | None  # where the mean lies, 95% confidence
    greedy: float | None  # mean reward of the likeliest answer to each prompt
    kl: float | None  # to the reference (nats/document)
    kl_error: float | None  # its standard error
    entropy: float  # nats/document
    distinct: float  # share of the documents sampled that are different
    commonest: str
    commonest_share: float
    unfinished: float  # share that does not end within block_size
    novel: float | None  # share that is in no list
    nearest: list[tuple[str, str, int]]  # a new document, the nearest in a list, edits between

    def record(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def evaluate(
    model: Model,
    reference: Model | None = None,
    data: Mapping[str, Split] | None = None,
    reward: Reward | None = None,
    n: int = 2000,
    seed: int = 42,
    prompts: Sequence[str] = (),
) -> Report:
    """Measure a model.

    Args:
        model: on an engine that can train: only those give log p of many documents.
        reference: what it is compared with, of the same vocabulary.
        data: lists of documents by name. A loss is measured on what is held out, else on all.
        reward: what a document is worth.
        n: documents to sample.
        seed: of the documents.
        prompts: what they begin with, as many documents for each.

    Raises:
        ValueError: an engine cannot train, a document holds a character that the model lacks, or
            the reward fails.
    """
    whole("n", n, least=2)
    _engine(model)
    batch = _sample(model, [*prompts] or [""], n, seed)
    documents = [text(document, model.tokenizer) for document in batch]
    nats = _sums(model, batch)
    moved = None if reference is None else _sums(reference, batch) - nats
    earned = judge(reward, documents) if reward else None
    commonest, count = Counter(documents).most_common(1)[0]
    known = {t[: model.config.block_size] for t in texts(dict(data or {}))}
    return Report(
        documents=len(batch),
        losses=_losses(model, data or {}),
        reward=None if earned is None else sum(earned) / len(earned),
        reward_interval=None if earned is None else interval(earned),
        greedy=greedy_reward(model, reward, prompts) if reward and prompts else None,
        kl=None if moved is None else float(moved.mean()),
        kl_error=None if moved is None else float(moved.std() / math.sqrt(len(batch))),
        entropy=float(nats.mean()),
        distinct=len(set(documents)) / len(batch),
        commonest=commonest,
        commonest_share=count / len(batch),
        unfinished=sum(d[-1] != model.tokenizer.bos for d in batch) / len(batch),
        novel=sum(t not in known for t in documents) / len(batch) if known else None,
        nearest=nearest(documents, sorted(known)),
    )


@dataclass(frozen=True)
class Comparison:
    """Reports of one model and of what it was."""

    reports: dict[str, Report]  # by the names of the models, the last one the tuned
    reward: str  # what was rewarded
    unknown: str | None  # why its lists are not at hand, if they are not


def compare(
    models: Mapping[str, Model], feed: Tuning | None = None, n: int = 2000, seed: int = 42
) -> Comparison:
    """Measure models side by side, by what the record of the last one says it learned from.

    Args:
        models: by name; the last is the tuned one, the first is the reference.
        feed: the one that it was tuned with; made again from the record, if it is not given.
        n: documents to sample.
        seed: of the documents.

    Raises:
        OSError: the reward or the prompts are not where they were.
        ValueError: they are not what they were, or evaluate refuses.
    """
    first, *_, last = [*models.values()] * 2
    data, unknown = {}, None
    try:
        data = lineage.learned(last.checkpoint)
    except (OSError, ValueError) as error:
        unknown = str(error)
    if feed is None and lineage.kind(last.checkpoint) in lineage.TUNED:
        feed = lineage.feed(last.checkpoint)
    reward, questions = (feed.reward, feed.questions) if feed else (None, ())
    reports = {
        name: evaluate(model, None if model is first else first, data, reward, n, seed, questions)
        for name, model in models.items()
    }
    return Comparison(reports, feed.name if feed else "", unknown)


def written(
    model: Model, prompt: str, count: int, seed: int, sampling: Sampling
) -> list[Completion]:
    """Return documents that a model writes from a prompt on."""
    return complete(model.engine, model.tokenizer.ids(prompt), count, seed, sampling)


def _sample(model: Model, prompts: Sequence[str], n: int, seed: int) -> list[Completion]:
    """Return n documents or a few more, as many for each prompt."""
    each = -(-n // len(prompts))
    return [
        document
        for i, prompt in enumerate(prompts)
        for document in written(model, prompt, each, seed + i, Sampling(1.0))
    ]


def _losses(model: Model, data: Mapping[str, Split]) -> dict[str, float]:
    return {
        f"{name}, held out" if documents.test else name: held_out_loss(model, documents)
        for name, documents in data.items()
    }


def held_out_loss(model: Model, documents: Split) -> float:
    """Return the loss on what is held out of a list, else on all of it (nats/token)."""
    lines = documents.test or documents.train
    size = model.config.block_size
    batch = [cut(encode(line, model.tokenizer, size), size) for line in lines]
    return _engine(model).loss(*sft(batch, [1.0] * len(batch)))


def greedy_reward(model: Model, reward: Reward, prompts: Sequence[str]) -> float:
    """Return the mean reward of the likeliest answers to prompts."""
    greedy = Sampling(temperature=0)
    answers = [text(written(model, prompt, 1, 0, greedy)[0], model.tokenizer) for prompt in prompts]
    rewards = judge(reward, answers)
    return sum(rewards) / len(rewards)


def interval(rewards: Sequence[float], z: float = 1.96) -> tuple[float, float]:
    """Return where the mean lies with 95% confidence; of shares, Wilson's (1927, JASA 22, 158).

    >>> low, high = interval([1.0] * 100)
    >>> round(low, 3), round(high, 3)
    (0.963, 1.0)
    """
    n, mean = len(rewards), sum(rewards) / len(rewards)
    if set(rewards) <= {0.0, 1.0}:
        middle = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2)
        return middle - half, middle + half
    half = z * math.sqrt(sum((r - mean) ** 2 for r in rewards) / (n - 1) / n)
    return mean - half, mean + half


def nearest(written: Sequence[str], known: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the nearest known document to each of the first new ones, and the edits."""
    old = set(known)
    new = [document for document in dict.fromkeys(written) if old and document not in old]
    rows = []
    for document in new[:NEAREST]:
        edits = distances(document, known)
        best = int(edits.argmin())
        rows.append((document, known[best], int(edits[best])))
    return rows


def distances(document: str, known: Sequence[str]) -> Any:
    """Return how many insertions, deletions and changes lead to each known document, (N,).

    Source: Wagner & Fischer 1974, the table of prefixes, for all documents at once.
    """
    longest = max(map(len, known))
    letters = np.array([[*map(ord, t.ljust(longest, "\0"))] for t in known], np.int32)
    row = np.tile(np.arange(longest + 1), (len(known), 1))
    for i, letter in enumerate(document, 1):
        before, row = row, np.empty_like(row)
        row[:, 0] = i
        changed = before[:, :-1] + (letters != ord(letter))
        for j in range(1, longest + 1):
            kept = np.minimum(changed[:, j - 1], before[:, j] + 1)
            row[:, j] = np.minimum(kept, row[:, j - 1] + 1)
    return row[np.arange(len(known)), [len(t) for t in known]]


def table(reports: Mapping[str, Report], reward: str) -> list[str]:
    """Return reports side by side as lines, each under its name."""
    columns = [*reports.values()]
    lines = [f"{'':30}" + "".join(f"{name:>24}" for name in reports)]

    def add(what: str, values: Sequence[str | None]) -> None:
        if any(value is not None for value in values):
            lines.append(f"{what:30}" + "".join(f"{value or '-':>24}" for value in values))

    for name in dict.fromkeys(name for report in columns for name in report.losses):
        known = [report.losses.get(name) for report in columns]
        add(f"loss on {name}"[-29:], [None if x is None else f"{x:.4f}" for x in known])
    add(f"reward {reward}"[:29], [_reward(report) for report in columns])
    add("  of the likeliest answers", [_share(report.greedy) for report in columns])
    add("KL (nats/document)", [_kl(report) for report in columns])
    add("entropy (nats/document)", [f"{report.entropy:.2f}" for report in columns])
    add("distinct", [_share(report.distinct) for report in columns])
    commonest = [f"{r.commonest[:16]} {r.commonest_share:.1%}" for r in columns]
    add("the most common", commonest)
    add("do not end", [_share(report.unfinished) for report in columns])
    add("in no list", [_share(report.novel) for report in columns])
    return lines


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


def _reward(report: Report) -> str | None:
    if report.reward is None or report.reward_interval is None:
        return None
    low, high = report.reward_interval
    return f"{report.reward:.3f} [{low:.3f}, {high:.3f}]"


def _kl(report: Report) -> str | None:
    return None if report.kl is None else f"{report.kl:.2f} +- {report.kl_error:.2f}"


def _sums(model: Model, batch: Batch) -> Any:
    """Return -log p of each document after its prompt (nats)."""
    losses = _engine(model).losses(batch)
    return np.array([sum(row[given(d) :]) for d, row in zip(batch, losses, strict=True)])


def _engine(model: Model) -> TrainableEngine:
    if not isinstance(model.engine, TrainableEngine):
        raise ValueError(
            f"the engine {model.engine_name} cannot train, and gives no log p of many documents"
        )
    return model.engine
