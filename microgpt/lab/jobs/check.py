"""A learner's file, checked: the school's judge, as a run that is stopped when it never ends."""

from collections.abc import Iterator

from microgpt.lab.jobs.controls import Event
from microgpt.school.judge import judge

SILENCE = 30  # seconds without a verdict, after which the code is stopped


def check(question: Event) -> Iterator[Event]:
    """Say how a learner's source does in a lesson; the last event is the verdict.

    Raises:
        ValueError: there is no such lesson.
    """
    source, lesson = str(question["source"]), int(question["lesson"])
    yield {"silence": SILENCE}
    yield {"verdict": judge(source, lesson).to_json()}
