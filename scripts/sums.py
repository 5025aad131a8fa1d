"""Write sums for a model to learn: half of the answers that it learns from are wrong.

python scripts/sums.py FOLDER [SEED]

FOLDER gets noisy.txt, sums such as 07+12=19, of which half are wrong, to train a model on; and
right.txt, every problem with its answer, prompt<TAB>answer, to check it by. About a fifth of the
400 problems are in right.txt only: those that `microgpt tune --val 0.1` holds out.
"""

import sys
from pathlib import Path

from microgpt import files
from microgpt.tuning import sums


def main() -> None:
    """Write both files."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder.mkdir(exist_ok=True)
    for name, lines in (("noisy.txt", sums.noisy(seed)), ("right.txt", sums.right())):
        files.write(folder / name, "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
