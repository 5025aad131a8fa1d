"""Write sums for a model to learn: half of the answers to learn from are wrong.

python scripts/sums.py FOLDER [SEED]

FOLDER gets noisy.txt, sums such as 7+12=19 of which half are wrong, to train a model on; and
right.txt, every problem with its answer, prompt<TAB>answer, to check it by. Of the 400 problems a
fifth is in right.txt only: those that `microgpt tune --val 0.1` holds out, for validation and test.
"""

import random
import sys
from pathlib import Path

from microgpt import files
from microgpt.dataset import split

LEAST_TO_MOST = range(20)  # what is added
COPIES = 32  # of each problem in noisy.txt, each with an answer of its own
HELD_OUT = 0.1  # for validation, and as much for test


def problems() -> list[tuple[str, int]]:
    """Return every problem and its answer."""
    return [(f"{a}+{b}=", a + b) for a in LEAST_TO_MOST for b in LEAST_TO_MOST]


def right() -> list[str]:
    """Return every problem with its answer, prompt<TAB>answer."""
    return [f"{problem}\t{answer}" for problem, answer in problems()]


def noisy(seed: int) -> list[str]:
    """Return the problems that are not held out, some times each, half of the answers wrong."""
    rng, lines = random.Random(seed), []
    learned = set(split([problem for problem, _ in problems()], HELD_OUT).train)
    for problem, answer in problems():
        wrong = [other for other in range(2 * len(LEAST_TO_MOST) - 1) if other != answer]
        for i in range(COPIES):
            if problem in learned:
                lines.append(f"{problem}{answer if i % 2 else rng.choice(wrong)}")
    rng.shuffle(lines)
    return lines


def main() -> None:
    """Write both files."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name, lines in (("noisy.txt", noisy(seed)), ("right.txt", right())):
        files.write(folder / name, "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
