"""Sums for a model to learn and a checker to know: half of the answers to learn from are wrong."""

import random

from microgpt.dataset import split

NUMBERS = range(20)  # what is added
ANSWERS = range(2 * len(NUMBERS) - 1)
COPIES = 32  # of each problem in noisy.txt, every other one with a wrong answer of its own
HELD_OUT = 0.1  # for validation, and as much for test


def problems() -> dict[str, int]:
    """Return every problem and its answer."""
    return {f"{a:02}+{b:02}=": a + b for a in NUMBERS for b in NUMBERS}


def noisy(seed: int) -> list[str]:
    """Return the problems that are not held out, many times, half of the answers wrong."""
    rng, lines = random.Random(seed), []
    answers = problems()
    for problem in split([*answers], HELD_OUT).train:
        wrong = [answer for answer in ANSWERS if answer != answers[problem]]
        for i in range(COPIES):
            lines.append(f"{problem}{answers[problem] if i % 2 else rng.choice(wrong):02}")
    rng.shuffle(lines)
    return lines


def right() -> list[str]:
    """Return every problem with its answer, prompt<TAB>answer."""
    return [f"{problem}\t{answer:02}" for problem, answer in problems().items()]
