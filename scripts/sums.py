"""Write sums for a model to learn: half of the answers that it learns from are wrong.

python scripts/sums.py FOLDER [SEED]

FOLDER gets noisy.txt, sums such as 07+12=19, of which half are wrong, to train a model on; and
right.txt, every problem with its answer, prompt<TAB>answer, to check it by. About a fifth of the
400 problems are in right.txt only: those that `microgpt tune --val 0.1` holds out.
"""

import random
import sys
from pathlib import Path

from microgpt import files
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


def main() -> None:
    """Write both files."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder.mkdir(exist_ok=True)
    right = [f"{problem}\t{answer:02}" for problem, answer in problems().items()]
    for name, lines in (("noisy.txt", noisy(seed)), ("right.txt", right)):
        files.write(folder / name, "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
