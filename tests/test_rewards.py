"""Rewards: those that ship with us, written rules, and functions that fail in every way."""

import copy
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microgpt import dataset, rewards
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam
from microgpt.rewards import Rules, judge, parse
from microgpt.rewards.function import Function
from microgpt.training import Run, Settings
from microgpt.tuning import Reference, Reinforcement
from tests.test_training import finish, same

RULES = """
[[rule]]
name = "four to eight letters"
must = "^.{4,8}$"
[[rule]]
name = "no three consonants"
must_not = "[^aeiou]{3}"
weight = 2
[[rule]]
name = "nobody's name"
novel = true
"""


def test_the_rewards_that_ship_with_us(tmp_path: Path) -> None:
    right = tmp_path / "right.txt"
    right.write_text("1+2=\t3\n2+2=\t4\n")
    names = ["emma", "liz", "ruth"]
    assert judge(parse("vowel"), names) == [1, 0, 0]
    assert judge(parse("length:4"), names) == [1, 0, 1]
    assert judge(parse("has:z"), names) == [0, 1, 0]
    assert judge(parse("novel", ["emma"]), names) == [0, 1, 1]
    assert judge(parse(f"answers:{right}"), ["1+2=3", "1+2=4", "2+2=4", "+2=4"]) == [1, 0, 1, 0]


def test_sounding_like_a_list(tmp_path: Path) -> None:
    """A document of the list scores above the same letters in another order."""
    names = list(dataset.load("world").documents)
    reward = parse("like:world")
    rng = random.Random(1)
    own = rng.sample(names, 300)
    mixed = ["".join(rng.sample(name, len(name))) for name in own]
    scores = [sum(judge(reward, each)) / 300 for each in (own, mixed)]
    assert scores[0] > scores[1] + 0.5
    assert judge(reward, ["7", ""])[0] < -3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vowels", "there is no reward 'vowels'; there are vowel, length:N, has:TEXT"),
        ("vowel:3", "there is no reward 'vowel:3'"),
        ("length", "there is no reward 'length'; there are vowel, length:N"),
        ("length:0", "length is 0; it must be a whole number, 1 or more"),
        ("length:-3", "length is '-3'"),
        ("length:x", "length is 'x'; it must be a whole number"),
        ("mine.py", "there is no reward 'mine.py'"),
    ],
)
def test_a_reward_that_there_is_not(name: str, says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        parse(name)
    assert says in str(error.value)


def test_written_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    rules = parse(str(tmp_path / "rules.toml"), ["emma"])
    assert isinstance(rules, Rules)
    assert judge(rules, ["emmo", "emma", "liz", "schtroumpf", "astra"]) == [1, 0, 0, -2, -1]
    assert [rule.name for rule in rules.broken("schtroumpf")] == [
        "four to eight letters",
        "no three consonants",
    ]
    assert rules.violations(["emma", "emmo"])["nobody's name"] == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[rule]", "is not a TOML file"),
        ("", "must hold rules and nothing else, each under [[rule]]"),
        ("rule = 3", "must hold rules and nothing else"),
        ("[[rules]]\nname = 'a'", "must hold rules and nothing else"),
        ("[[rule]]\nmust = 'a'", "has no name"),
        ("[[rule]]\nname = 'a'", "must have one of must, must_not, novel"),
        ("[[rule]]\nname = 'a'\nmust = 'a'\nmust_not = 'b'", "must have one of"),
        ("[[rule]]\nname = 'a'\nmust = '('", "is not a regular expression"),
        ("[[rule]]\nname = 'a'\nmust = 3", "is not a regular expression"),
        ("[[rule]]\nname = 'a'\nmust = 'a'\nweight = 0", "is 0.0; it must be positive"),
        ("[[rule]]\nname = 'a'\nmust = 'a'\nweight = nan", "it must be positive"),
        ("[[rule]]\nname = 'a'\nmust = 'a'\nweight = 'x'", "it must be a number"),
        ("[[rule]]\nname = 'a'\nmust = 'a'\ncolour = 1", "has 'colour'; it may have name"),
        ("[[rule]]\nname = 'a'\nnovel = false", "has novel = False; leave it out"),
    ],
)
def test_rules_that_make_no_sense(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        parse(str(tmp_path / "rules.toml"))
    assert says in str(error.value)
    assert "rules.toml" in str(error.value)
    assert "\n" not in str(error.value)


CODE = """
import os, sys, time
import beside
print("what it prints is not an answer", flush=True)

def good(documents):
    print(sys.stdin.read())
    return [document.count("m") for document in documents]

def stops(documents):
    return [1 / ("z" not in document) for document in documents]

def nan(documents):
    return [float("nan") if "z" in document else 0.0 for document in documents]

def few(documents):
    return [1.0 for document in documents if "z" not in document]

def words(documents):
    return ["much" if "z" in document else 1 for document in documents]

def ends(documents):
    if any("z" in document for document in documents):
        os._exit(1)
    return [1.0] * len(documents)

def quits(documents):
    sys.exit("I have had enough")

def loops(documents):
    while any("z" in document for document in documents):
        pass
    return [1.0] * len(documents)

def together(documents):
    return [1.0] if len(documents) == 1 else []

def nothing(documents):
    return None
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "beside.py").write_text("")
    return tmp_path / "mine.py"


def test_a_function_of_ones_own(code: Path) -> None:
    reward = parse(f"{code}:good")
    assert judge(reward, ["emma", "ruth"]) == [2, 0]
    assert judge(reward, ["mm", "m", "é"]) == [2, 1, 0]
    assert judge(copy.deepcopy(reward), ["m"]) == [1]


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signal to a group")
def test_ctrl_c_does_not_reach_the_function(code: Path) -> None:
    """A terminal sends it to every process: the run stops and is saved, its reward goes on."""
    reward = Function(str(code), "good")
    assert reward(["emma"]) == [2]
    assert reward._process
    reward._process.send_signal(signal.SIGINT)
    assert reward(["emma"]) == [2]
    reward.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stops", "stops with ZeroDivisionError: division by zero on 'liz'"),
        ("nan", "gives nan, which is not a finite number, on 'liz'"),
        ("few", "gives 0 numbers for 1 documents on 'liz'"),
        ("words", "stops with ValueError: could not convert string to float: 'much' on 'liz'"),
        ("ends", "ended its process on 'liz'"),
        ("loops", "took more than 2 s on 'liz'"),
        ("quits", "stops with SystemExit: I have had enough on 'emma'"),
        ("together", "gives 0 numbers for 3 documents on 3 documents together, the first 'emma'"),
        ("nothing", "stops with TypeError: 'NoneType' object is not iterable on 'emma'"),
        ("missing", "cannot be used: it stops with NameError: there is no function 'missing'"),
        ("os", "cannot be used: it stops with NameError: there is no function 'os'"),
    ],
)
def test_a_function_that_fails_is_named_with_its_document(code: Path, name: str, says: str) -> None:
    reward = Function(str(code), name, seconds=2 if name == "loops" else 60)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        judge(reward, ["emma", "liz", "zoe"])
    assert says in str(error.value)
    assert str(error.value).startswith(f"{code}:{name} ")
    assert "\n" not in str(error.value)
    reward.close()


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        (lambda documents: [1.0], "gives 1 numbers for 2 documents (the first is 'emma')"),
        (lambda documents: [1.0, float("inf")], "reward of 'liz' is inf; it must be a finite"),
        (lambda documents: [1.0, None], "reward of 'liz' is None"),
        (lambda documents: 1 / 0, "the reward stops with ZeroDivisionError"),
    ],
)
def test_a_reward_from_python_is_checked(reward: Callable[..., Any], says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        judge(reward, ["emma", "liz"])
    assert says in str(error.value)


def test_a_run_whose_reward_fails_loses_nothing(code: Path, checkpoint: Checkpoint) -> None:
    """It stops before the step; once the function is mended it goes on as if nothing had been."""

    def begin(reward: rewards.Reward) -> Reinforcement:
        return Reinforcement(Reference("base", checkpoint), reward, "mine", batch=8)

    settings = Settings(6, 0.01, Adam(0.9))
    failing = code.with_name("failing.py")
    failing.write_text(
        "calls = 0\ndef f(documents):\n    global calls\n    calls += 1\n"
        "    return [1 / (calls < 4) * d.count('a') for d in documents]\n"
    )
    mended = Function(str(code), "good")
    code.write_text("def good(documents):\n    return [d.count('a') for d in documents]\n")
    whole = finish(Run(begin(mended), settings, start=checkpoint))
    run = Run(begin(Function(str(failing), "f")), settings, start=checkpoint)
    with pytest.raises(ValueError, match="failing.py:f stops with ZeroDivisionError"):
        finish(run)
    assert run.step == 3
    resumed = finish(Run.resume(run.checkpoint(), begin(mended)))
    assert run.losses + resumed.losses == whole.losses
    assert same(resumed.checkpoint(), whole.checkpoint())
