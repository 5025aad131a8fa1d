"""The learner's text: stubs are added, never written over, and in the end it is gpt.py again."""

import random

import pytest

from microgpt.school.course import Lesson, lesson, lessons
from microgpt.school.source import MAIN, Text, begin, heart, home, reset


@pytest.mark.parametrize("each", lessons(), ids=lambda each: each.name)
def test_a_lesson_begins_with_stubs_alone(each: Lesson) -> None:
    text = Text(begin("", each))
    assert set(each.writes) <= set(text.nodes)
    assert not set(each.writes) & text.written()
    assert set(each.given) <= text.written()


def test_in_the_end_it_is_the_heart(solved: list[str]) -> None:
    """Every name of gpt.py is there, word by word, and nothing else but the reference's."""
    text = Text(solved[-1])
    assert heart().nodes.keys() <= text.nodes.keys()
    for name in text.nodes:
        if not isinstance(text.nodes[name], type(heart().nodes["Value"])):
            assert text.text(name) == home(name).text(name)
    compile(text.tree, "mygpt.py", "exec")


def test_in_any_order() -> None:
    """Lessons may be begun in any order, and again: what is there stays, the main block is last."""
    numbers = [lesson.number for lesson in lessons()]
    for seed in range(2):
        source = ""
        for number in random.Random(seed).sample(numbers * 2, len(numbers) * 2):
            before = Text(source)
            source = begin(source, lesson(number))
            after = Text(source)
            assert all(before.text(name) in source for name in before.nodes if name != "Value")
        assert heart().nodes.keys() <= after.nodes.keys()
        assert after.span(MAIN).stop == len(after.lines)


def test_what_is_written_stays() -> None:
    mine = "def encode(doc, alphabet):\n    return []  # my own\n"
    source = begin(mine, lesson(1))
    assert source.startswith(mine)
    assert "def decode" in source
    assert begin(source, lesson(1)) == source


def test_a_method_is_indented_as_its_class_is() -> None:
    mine = "class Value:\n\tdef exp(self):\n\t\treturn 1\n\n\nafter = 1"
    text = Text(begin(mine, lesson(5)))
    assert text.text("Value.backward").startswith("\tdef backward(self):\n\t    ")
    assert "Value.exp" in text.written()


def test_a_class_on_one_line() -> None:
    with pytest.raises(ValueError, match="line 1: give class Value a body of several lines"):
        begin("class Value: x = 1\n", lesson(5))


@pytest.mark.parametrize("each", lessons(), ids=lambda each: each.name)
def test_reset_puts_just_the_stubs_back(each: Lesson, solved: list[str]) -> None:
    before, after = Text(solved[-1]), Text(reset(solved[-1], each))
    assert before.written() - after.written() == set(each.writes)
    kept = after.written() - {"Value"}
    assert all(after.text(name) == before.text(name) for name in kept)


def test_a_decorator_and_the_comment_above_belong_to_a_function() -> None:
    mine = "x = 1\n# why\n@print\n@print\ndef encode(doc, alphabet):\n    return doc\ny = 2\n"
    assert Text(mine).text("encode") == mine[len("x = 1\n") : -len("y = 2\n")]
    source = reset(mine, lesson(1))
    assert "@print" not in source
    assert source.startswith("x = 1\n")
    assert "y = 2\n" in source


def test_docstrings_and_calls_make_no_difference_to_a_stub() -> None:
    text = Text('def f():\n    """Do."""\n    raise NotImplementedError("later")\ndef g(): pass\n')
    assert text.written() == {"g"}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def f(:\n", "mygpt.py, line 1: invalid syntax in `def f\\(:`; mend this first"),
        ("x = 1\n  y = 2\n", "mygpt.py, line 2: unexpected indent in `y = 2`; mend this first"),
        ("x = '\0'\n", "mygpt.py"),
        ("(" * 500, "mygpt.py"),
        ("x = " + "-" * 100_000 + "1", "mygpt.py cannot be read as Python"),
    ],
)
def test_what_is_not_python(source: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Text(source)


def test_lines_are_counted_as_python_counts_them() -> None:
    text = Text("x = '\u2028\x0c'\ndef f():\n    return 1\n")
    assert text.text("f") == "def f():\n    return 1\n"
