"""One job in a process of its own: `python -m microgpt.lab.process MODEL RUN`.

Its first line on standard input is what to do, each later one a command, each line on standard
output an event; all are JSON objects. It ends with its work, or when its input does: the server
that started it has gone. A model that it trains is written to RUN-STEP.safetensors.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs import controls_of, run
from microgpt.lab.jobs.controls import Event

LIMIT = 60  # seconds that edited code may take
MEMORY = 4 * 2**30  # bytes of address space that it may have


def main() -> None:
    """Do what the first line says."""
    os.nice(10)  # the page, and the rest of the machine, come first
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what edited code prints is no event

    one_by_one = threading.Lock()

    def emit(event: Event) -> None:
        with one_by_one:
            out.write(json.dumps(event) + "\n")
            out.flush()

    def listen() -> None:
        for line in sys.stdin:
            try:
                controls.apply(json.loads(line))
            except (ValueError, TypeError) as error:  # said, and nothing changed
                emit({"error": " ".join(str(error).split())})
        os._exit(0)

    question = json.loads(sys.stdin.readline())
    controls = controls_of(question)
    threading.Thread(target=listen, daemon=True).start()
    if question.get("kind") == "edit":
        confine(emit)
    for event in run(question, controls, Checkpoint.load(sys.argv[1])):
        if isinstance(event, float):
            controls.wait(event)
        elif isinstance(event, Checkpoint):
            emit(keep(event, Path(sys.argv[2])))
        else:
            emit(event)
    os._exit(0)


def keep(model: Checkpoint, run: Path) -> Event:
    """Write a model for the server, and return the event that names it, or says why it is not."""
    name = f"{run.name}-{model.training['step']}"
    try:
        model.save(run.with_name(f"{name}.safetensors"))
    except OSError as error:
        return {"error": f"the model cannot be kept: {error}"}
    return {"model": name}


def confine(emit: Callable[[Event], None]) -> None:
    """Set limits to a process that runs edited code: seconds, and memory where it can be set."""

    def give_up() -> None:
        emit({"error": f"the edited code was stopped after {LIMIT} s; does a loop never end?"})
        os._exit(0)

    timer = threading.Timer(LIMIT, give_up)
    timer.daemon = True
    timer.start()
    try:
        import resource
    except ImportError:  # Windows has none
        return
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT + 5, LIMIT + 5))  # where no thread gets a turn
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
