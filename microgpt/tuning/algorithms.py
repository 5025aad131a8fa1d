"""The algorithms of post-training: from judgements to the weight of each position.

Training goes down the gradient of (1/B) sum over B documents and their positions of w * -log p, so
a weight says how hard a step pulls a token up, or if it is negative, down. That is all that tells
one algorithm from another. Each function below takes

    documents    the batch, [BOS, ..., BOS], as far as the model reads them; some begin with a
                 prompt, whose positions always weigh 0: nobody chose those tokens
    judgements   a number for each document
    ratios       log p of the model, minus log p of the reference, at every position (nats)

and returns the batch and its weights. They are pure: no model, no random number, no state.
The arithmetic of a single document is in weights.py.
"""

import math
from collections.abc import Sequence

from microgpt.documents import Batch, Weights
from microgpt.tuning.completions import given
from microgpt.tuning.weights import advantages, dpo_weights, sft_weights

Rows = Sequence[Sequence[float]]


def sft(batch: Batch, judgements: Sequence[float], ratios: Rows = ()) -> tuple[Batch, Weights]:
    """Supervised fine-tuning: the loss of pretraining, over the completion alone.

    A position weighs 1/n, n being the positions of the completion, times the judgement of its
    document: 1 to learn it, 0 to leave it out.

    Source: Ouyang et al. 2022, section 3.5, step 1; masking as in Radford et al. 2018, eq. 4.
    """
    each = zip(batch, judgements, strict=True)
    return batch, [[j * weight for weight in sft_weights(d, given(d))] for d, j in each]


def rejection(
    batch: Batch, rewards: Sequence[float], ratios: Rows = (), least: float = 1.0
) -> tuple[Batch, Weights]:
    """Rejection sampling: fine-tune on those of the model's own documents that earn `least`.

    The weights are scaled so that the loss is the mean over the documents kept.

    Source: Gulcehre et al. 2023 (ReST), eq. 2, with the filter reward >= least.
    """
    kept = [float(reward >= least) for reward in rewards]
    scale = len(batch) / max(1.0, sum(kept))
    return sft(batch, [scale * keep for keep in kept])


def reinforce(
    batch: Batch,
    rewards: Sequence[float],
    ratios: Rows,
    beta: float = 0.0,
    group: int | None = None,
) -> tuple[Batch, Weights]:
    """Policy gradient: E[R grad log p], R = reward - beta * log(p / p of the reference).

    Each document is compared with the mean of the others of its group, which all answer one
    prompt: the baseline that leaves it out does not bias the gradient. No division by the group's
    deviation or the document's length: both bias it.

    Source: Williams 1992, theorem 1; the KL in the reward: Ziegler et al. 2019, eq. 2; the
    baseline: Kool et al. 2019, eq. 8, for language models Ahmadian et al. 2024, section 2.2.
    """
    group = group or len(batch)
    moved = [sum(row[given(d) :]) for d, row in zip(batch, ratios, strict=True)]
    numbers: list[float] = []
    for first in range(0, len(batch), group):
        members = slice(first, first + group)
        numbers += advantages(rewards[members], moved[members], beta)
    return batch, _spread(batch, numbers)


def ppo(
    batch: Batch, advantages: Sequence[float], ratios: Rows, clip: float = 0.2
) -> tuple[Batch, Weights]:
    """Policy gradient of a batch that is used again: the reference is the model that sampled it.

    The gradient of min(q A, clamp(q, 1 - clip, 1 + clip) A) at a token, where q = e^ratio, is
    q A grad log p, or 0 where the clamp is the smaller.

    Source: Schulman et al. 2017, eq. 7.
    """
    rows = [
        [0.0 if _clipped(math.exp(r), a, clip) else math.exp(r) * a for r in row]
        for a, row in zip(advantages, ratios, strict=True)
    ]
    return batch, _masked(batch, rows)


def dpo(
    batch: Batch, judgements: Sequence[float], ratios: Rows, beta: float = 0.5
) -> tuple[Batch, Weights]:
    """Direct preference optimization: -log sigmoid(z), z = beta * (ratio chosen - ratio rejected).

    Neighbours are a pair; the one of the greater judgement is the chosen. The gradient of the mean
    over pairs (two documents each) weighs the chosen 2 beta sigmoid(-z), and the rejected the same,
    negative: only their difference counts, so both may become less likely.

    Source: Rafailov et al. 2023, eq. 7.
    """
    sums = [sum(row) for row in ratios]
    numbers: list[float] = []
    for i in range(0, len(batch), 2):
        if judgements[i] >= judgements[i + 1]:
            up, down = dpo_weights(sums[i], sums[i + 1], beta)
            numbers += [2 * up, 2 * down]
        else:
            up, down = dpo_weights(sums[i + 1], sums[i], beta)
            numbers += [2 * down, 2 * up]
    return batch, _spread(batch, numbers)


def _spread(batch: Batch, numbers: Sequence[float]) -> Weights:
    """Return a number a document as weights: the same at each position of its completion."""
    rows = [[number] * (len(d) - 1) for d, number in zip(batch, numbers, strict=True)]
    return _masked(batch, rows)


def _masked(batch: Batch, rows: Rows) -> Weights:
    return [[0.0] * given(d) + [*row[given(d) :]] for d, row in zip(batch, rows, strict=True)]


def _clipped(q: float, advantage: float, clip: float) -> bool:
    return q > 1 + clip if advantage > 0 else q < 1 - clip
