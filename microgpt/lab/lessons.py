"""The school as the page reads it: lessons.json."""

import hashlib
import json
from dataclasses import asdict
from functools import cache

from microgpt.school import pages
from microgpt.school.course import Lesson, glossary, lessons, tour
from microgpt.school.source import begin


@cache
def to_json() -> str:
    """Return lessons, tour and words as JSON; lessons are HTML, cut at their prediction."""
    return json.dumps(
        {
            "lessons": [_lesson(lesson) for lesson in lessons()],
            "tour": [asdict(stop) for stop in tour()],
            "words": glossary(),
        },
        ensure_ascii=False,
    )


def _lesson(lesson: Lesson) -> dict[str, object]:
    before, after = pages.around(lesson.text)
    begun = begin("", lesson)
    version = hashlib.sha256(f"{lesson.text}{begun}".encode()).hexdigest()[:8]
    return asdict(lesson) | {"before": before, "after": after, "text": None, "version": version}
