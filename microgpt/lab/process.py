"""One job in a process of its own: `python -m microgpt.lab.process MODEL RUN`.

Its first line on standard input is what to do, each later one a command, each line on standard
output an event; all are JSON objects. It ends with its work, or when its input does: the server
that started it has gone. A model that it trains is written to RUN-STEP.safetensors.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs import controls_of, run
from microgpt.lab.jobs.controls import Event
from microgpt.lab.jobs.edit import SILENCE

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

MEMORY = 4 * 2**30  # bytes of address space that it may have


def main() -> None:
    """Do what the first line says."""
    os.nice(10)  # the page, and the rest of the machine, come first
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what edited code prints is not an event

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
    watch: Callable[[], AbstractContextManager[None]] = nullcontext
    if question.get("kind") in ("edit", "check"):
        watch = partial(watched, emit)
    steps = run(question, controls, Checkpoint.load(sys.argv[1]))
    while True:
        with watch():
            event = next(steps, None)
        if event is None:
            break
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


@contextmanager
def watched(emit: Callable[[Event], None]) -> Iterator[None]:
    """Limit what edited code does inside: its memory, and how long it may take to show a step."""

    def give_up() -> None:
        emit({"error": f"your code was stopped: silent for {SILENCE} s; does a loop never end?"})
        os._exit(0)

    timer = threading.Timer(SILENCE, give_up)
    timer.daemon = True
    timer.start()
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        seconds = int(time.process_time()) + SILENCE + 5  # for code that gives no thread a turn
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
