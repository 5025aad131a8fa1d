"""What is measured of a model: against enumeration, by hand, and by its own record."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgpt
from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.dataset import Split
from microgpt.evaluation import compare, distances, evaluate, interval, nearest
from microgpt.model import Model
from microgpt.rewards import parse
from microgpt.training import Run, Settings
from microgpt.tuning import FineTuning, Preferences, Reference, Reinforcement, Rejection, lineage
from microgpt.tuning.feeds import Tuning
from microgpt.tuning.optimum import optimum
from tests.test_training import finish
from tests.test_tuning import ALL, TINY, WORTH, create, logs, model


def tiny(seed: int) -> Model:
    return Model(Checkpoint(TINY, "ab", model(seed)), "native", {"dtype": "float64"})


def test_a_report_is_what_enumeration_says() -> None:
    """Reward, KL and entropy of all the documents that a tiny model can write, by probability."""
    lp, old = (logs(create(model(seed))) for seed in (1, 2))
    worth = {"".join("ab"[t] for t in d if t < 2): r for d, r in zip(ALL, WORTH, strict=True)}
    # a document of three letters that ends and one that does not are different ones to the model
    exact = {
        "kl": float((np.exp(lp) * (lp - old)).sum()),
        "entropy": -float((np.exp(lp) * lp).sum()),
        "unfinished": float(np.exp(lp)[7:].sum()),
    }
    report = evaluate(tiny(1), tiny(2), reward=lambda ds: [worth[d] for d in ds], n=20000)
    assert report.kl == pytest.approx(exact["kl"], abs=4 * (report.kl_error or 0))
    deviation = float(np.sqrt((np.exp(lp) * (lp - old - exact["kl"]) ** 2).sum()))
    assert report.kl_error == pytest.approx(deviation / np.sqrt(20000), rel=0.05)
    assert report.entropy == pytest.approx(exact["entropy"], abs=0.05)
    assert report.unfinished == pytest.approx(exact["unfinished"], abs=0.02)
    mean = sum(
        p * worth["".join("ab"[t] for t in d if t < 2)]
        for d, p in zip(ALL, np.exp(lp), strict=True)
    )
    low, high = report.reward_interval or (0.0, 0.0)
    assert low - (high - low) < mean < high + (high - low)
    assert report.distinct == 15 / 20000


def test_the_interval_holds_as_often_as_it_says() -> None:
    rng = random.Random(1)
    for p in (0.03, 0.5, 0.98):
        hits = 0
        for _ in range(2000):
            low, high = interval([float(rng.random() < p) for _ in range(100)])
            hits += low <= p <= high
        assert 0.92 < hits / 2000 < 0.985
    hits = 0
    for _ in range(2000):
        low, high = interval([rng.gauss(3, 2) for _ in range(100)])
        hits += low <= 3 <= high
    assert 0.93 < hits / 2000 < 0.97


def edits(a: str, b: str) -> int:
    """Return how many edits lead from one text to another, by the definition (slowly)."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


WORDS = st.text("ab", max_size=5)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_edits_between_documents(document: str, known: list[str]) -> None:
    assert distances(document, known).tolist() == [edits(document, text) for text in known]


def test_the_nearest_is_of_new_documents() -> None:
    assert nearest(["emma", "emmo", "emmo", "zz"], ["anna", "emma"]) == [
        ("emmo", "emma", 1),
        ("zz", "anna", 4),
    ]
    assert nearest(["emma"], []) == []


def test_losses_are_of_what_is_held_out() -> None:
    held = tiny(1)
    data = {"all": Split(["ab", "b"], [], []), "some": Split(["ab"], ["a"], ["b"])}
    report = evaluate(held, data=data, n=10)
    scores = {text: held.score(text) for text in ("ab", "b", "a")}
    assert report.losses == pytest.approx(
        {"all": (scores["ab"].loss + scores["b"].loss) / 2, "some, held out": scores["b"].loss}
    )
    prompted = evaluate(held, data={"p": Split(["a\tb"], [], [])}, n=10)
    assert prompted.losses["p"] == pytest.approx(sum(scores["ab"].losses[1:]) / 2)
    assert report.reward is report.kl is report.greedy is None
    with pytest.raises(ValueError, match="the engine fixed cannot train"):
        evaluate(Model(held.checkpoint, "fixed"), n=10)
    with pytest.raises(ValueError, match="n is 1"):
        evaluate(held, n=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model of a few names, and a list of prompts with answers."""
    monkeypatch.chdir(tmp_path)
    names = dataset.load("world").documents[:400]
    Path("names.txt").write_text("\n".join(names))
    run = microgpt.train("names.txt", steps=300, batch=8, val=0.1, n_embd=8, lr=0.02)
    run.model().save("base")
    Path("right").write_text("".join(f"{a}\t{b}\n" for a in "abc" for b in "xy"))
    return tmp_path


def test_a_model_is_measured_by_its_own_record(folder: Path) -> None:
    base = Checkpoint.load("base")
    reference = Reference("base", base)
    data = dataset.load("right")
    tuned = finish(Run(FineTuning(data, reference, 4), Settings(200, 0.02), start=base)).model()
    assert list(lineage.learned(tuned.checkpoint)) == ["right", "names.txt"]
    compared = compare({"base": Model(base), "tuned": tuned}, n=300)
    old, new = compared.reports.values()
    assert compared.reward == "right answers"
    assert old.losses.keys() == {"right", "names.txt, held out"}
    assert new.losses["right"] < old.losses["right"]
    assert new.losses["names.txt, held out"] > old.losses["names.txt, held out"], "it forgets"
    assert new.greedy == 1 > (old.greedy or 0)
    assert (new.kl or 0) > 0
    assert old.kl is None
    reference = Reference("tuned", tuned.checkpoint)
    tuned.save("tuned")
    reward = Reinforcement(reference, lineage.reward(tuned.checkpoint, "novel"), "novel", batch=8)
    again = finish(Run(reward, Settings(2), start=tuned.checkpoint)).model()
    assert list(lineage.learned(again.checkpoint)) == ["right", "names.txt"], "a chain of three"
    feed = lineage.feed(again.checkpoint)
    assert feed.record() == reward.record()
    assert feed.reward
    assert list(feed.reward(["ax", "zzz"])) == [0, 1]


def test_every_feed_is_made_again_from_its_record(folder: Path) -> None:
    base = Checkpoint.load("base")
    (folder / "pairs").write_text("ab\tba\nada\tzed\n")
    names, right, pairs = map(dataset.load, ("names.txt", "right", "pairs"))
    of = Reference("base", base)
    feeds: list[Tuning] = [
        FineTuning(right, of, 8, 0.2, 7, 0.25, names, 0.1),
        Preferences(of, pairs, 0.7, 2, 7),
        Rejection(of, parse("has:x"), "has:x", 0.3, 6, right, 3, 0.2, 7, ended=False),
    ]
    for feed in feeds:
        run = finish(Run(feed, Settings(1), start=base))
        again = lineage.feed(run.checkpoint())
        assert type(again) is type(feed)
        for name, value in vars(feed).items():
            if isinstance(value, int | float | str | list):
                assert vars(again)[name] == value, name
        changed = run.checkpoint()
    (folder / "right").write_text("a\tx\n")
    with pytest.raises(
        ValueError, match="right is not what the run began with: its sha256 differs"
    ):
        lineage.feed(changed)


def test_what_is_novel_is_known_or_refused(folder: Path) -> None:
    """What the model learned counts as far as it can write it; it must be there."""
    (folder / "long").write_text("abcdefgh\nab\n")
    microgpt.train("long", steps=1, block_size=4, n_embd=4).model().save("short")
    short = Checkpoint.load("short")
    assert list(lineage.reward(short, "novel")(["abcd", "abce", "ab"])) == [0, 1, 0]
    (folder / "long").unlink()
    (folder / "rules.toml").write_text("[[rule]]\nname = 'new'\nnovel = true\n")
    for name in ("novel", "rules.toml"):
        with pytest.raises(OSError, match="long"):
            lineage.reward(short, name)
    assert list(lineage.reward(short, "vowel")(["ba"])) == [1]


def test_a_record_whose_model_has_changed_is_refused(folder: Path) -> None:
    base = Checkpoint.load("base")
    feed = Reinforcement(Reference("base", base), parse("vowel"), "vowel", batch=4)
    tuned = finish(Run(feed, Settings(1), start=base)).checkpoint()
    assert lineage.feed(tuned).record() == feed.record()
    microgpt.train("names.txt", steps=1, n_embd=8).model().save("base")
    with pytest.raises(ValueError, match="base is not the model that was tuned"):
        lineage.feed(tuned)
    (folder / "base").unlink()
    with pytest.raises(OSError, match="base"):
        lineage.feed(tuned)
    for record in ({}, {"feed": None}, {"feed": {"kind": "fine-tuning"}}):
        with pytest.raises(ValueError, match="its record"):
            lineage.feed(Checkpoint(tuned.config, tuned.vocabulary, tuned.state, record))


def test_the_optimum_is_the_best_there_is() -> None:
    """Against all distributions over a few documents: nothing has more reward less KL."""
    rewards, beta = [0.0, 1.0, 3.0], 0.7
    best = optimum(rewards, beta)
    assert best.reward - beta * best.kl == pytest.approx(
        beta * np.log(np.mean(np.exp(np.array(rewards) / beta)))
    )
    rng = np.random.default_rng(1)
    others = rng.dirichlet([1, 1, 1], 5000)
    kl = (others * np.log(others * 3)).sum(1)
    assert (others @ rewards - beta * kl).max() <= best.reward - beta * best.kl
    share = np.exp(np.array(rewards) / beta)
    assert best.effective == pytest.approx(share.sum() ** 2 / (share**2).sum())
    assert optimum([1.0] * 10, 0.1) == optimum([1.0] * 10, 1.0)
    assert optimum([1e6, 0.0], 1e-3).reward == 1e6, "nothing overflows"
