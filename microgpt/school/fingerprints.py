"""What the right answers are, and what each known mistake answers instead, kept in a file.

python -m microgpt.school.fingerprints

asks the reference and every patch of it all probes of their lessons, and writes fingerprints.json:
under `right` the answer to each probe, under the name of a mistake those of its answers that
differ. A check then needs to run the learner's file alone.
"""

import contextlib
import io
import json
import random
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from microgpt.files import write
from microgpt.school.answers import Answer, is_number, plain, same
from microgpt.school.mistakes import Mistake, mistakes
from microgpt.school.probes import PROBES, Probe, probes
from microgpt.school.program import Program, reference

FILE = files("microgpt") / "school" / "fingerprints.json"
Fingerprint = dict[str, Answer]  # by what was asked


@cache
def fingerprints() -> dict[str, Fingerprint]:
    """Return the right answers ("right"), and of each mistake those of its answers that differ."""
    read: dict[str, Fingerprint] = json.loads(FILE.read_text("utf-8"))
    return read


def asked(probe: Probe) -> str:
    """Return the name of a probe in the file."""
    return f"{probe.lesson} {probe.what}: {probe.input}"


def answer(probe: Probe, program: Program) -> tuple[Answer, BaseException | None]:
    """Ask a probe; an exception that comes instead of an answer counts by its type."""
    random.seed(0)  # for a program that uses these dice, and not those that it was given
    try:
        return plain(probe.ask(program)), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a learner's program may raise anything
        return {"raises": type(error).__name__}, error


def take(mistake: Mistake, right: Fingerprint) -> Fingerprint:
    """Return the answers of a mistake that differ from the right ones."""
    with contextlib.redirect_stdout(io.StringIO()):
        program = Program(mistake.program())
    found = {asked(probe): answer(probe, program)[0] for probe in probes(mistake.lesson)}
    return {name: each for name, each in found.items() if not same(right[name], each)}


def compute() -> dict[str, Fingerprint]:
    """Return what belongs into the file."""
    program = Program(reference())
    right = {asked(probe): answer(probe, program)[0] for probe in PROBES}
    return {"right": right} | {mistake.id: take(mistake, right) for mistake in mistakes()}


def rounded(answer: Answer) -> Any:
    """Return an answer with ten digits, so that the file stays short, and the same everywhere."""
    if is_number(answer) and isinstance(answer, float):
        return float(f"{answer:.9g}")
    if isinstance(answer, list):
        return [rounded(each) for each in answer]
    if isinstance(answer, dict):
        return {name: rounded(each) for name, each in answer.items()}
    return answer


def main() -> None:
    """Write the file."""
    rows = [f"{json.dumps(k)}: {json.dumps(rounded(v))}" for k, v in compute().items()]
    write(Path(str(FILE)), "{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
