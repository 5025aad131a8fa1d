"""What the lab runs for long: one generator of events a job, driven by a process or a browser.

A job knows no process: process.py drives it with threads, pyodide.py with the browser's own loop.
"""

from collections.abc import Iterator
from typing import Any

from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs import bits, check, edit, training, tuning
from microgpt.lab.jobs.controls import Controls, Event, TrainingDials, TuningDials

Step = Event | float | Checkpoint


def controls_of(question: Event) -> Controls:
    """Return the controls of the run that a question asks for; it may begin paused."""
    kinds: dict[Any, type[Controls]] = {"training": TrainingDials, "tuning": TuningDials}
    controls = kinds.get(question.get("kind"), Controls)()
    if question.get("kind") == "console":
        from microgpt.lab.jobs.console import Pad

        controls = Pad()
    controls.paused = bool(question.pop("paused", False))
    return controls


def run(question: Event, controls: Controls, checkpoint: Checkpoint) -> Iterator[Step]:
    """Do what a question says; yield events, models to keep, and where to wait, the seconds.

    An error is an event like any other.
    """
    kind = question.pop("kind", None)
    try:
        if kind == "console":
            from microgpt.lab.jobs import console  # a browser's Python has no emulator

            assert isinstance(controls, console.Pad)
            yield from console.play(question, controls)
        elif kind == "training":
            assert isinstance(controls, TrainingDials)
            yield from training.train(question, controls)
        elif kind == "tuning":
            assert isinstance(controls, TuningDials)
            yield from tuning.tune(question, controls, checkpoint)
        elif kind == "edit":
            yield from edit.compare(question, checkpoint)
        elif kind == "check":
            yield from check.check(question)
        elif kind == "bits":
            yield from bits.measure(checkpoint)
        else:
            yield {"error": f"there is no run of the kind {kind!r}"}
    except MemoryError:
        yield {"error": "it needs more memory than it may have"}
    except (ValueError, OSError) as error:
        yield {"error": " ".join(str(error).split())}
    except (Exception, SystemExit) as error:  # edited code may stop in any way
        yield {"error": f"it stops with {type(error).__name__}: {' '.join(str(error).split())}"}
