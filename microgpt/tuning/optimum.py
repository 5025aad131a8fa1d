"""Where reinforcement learning with KL ends: a closed form, with which training is compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Optimum:
    """Where reinforcement learning with KL ends: p = p of the reference * e^(reward/beta) / Z."""

    reward: float  # its mean
    kl: float  # to the reference (nats/document)
    effective: float  # sample size: of how many documents the two means are worth


def optimum(rewards: Sequence[float], beta: float) -> Optimum:
    """Return the exact end from what the reference's own documents earn, weighed by e^(r/beta).

    Below an effective sample size of some hundreds the two means say little.

    Source: Rafailov et al. 2023, eq. 4; the sample size is Kish's (1965).
    """
    most = max(rewards)
    weights = [math.exp((r - most) / beta) for r in rewards]
    total = sum(weights)
    reward = sum(w * r for w, r in zip(weights, rewards, strict=True)) / total
    log_z = math.log(total / len(rewards)) + most / beta
    return Optimum(reward, reward / beta - log_z, total**2 / sum(w * w for w in weights))
