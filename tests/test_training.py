"""The loop is the heart's loop; it can stop anywhere and go on as if it had not."""

import copy
import json
import math
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgpt
from microgpt import cartridge, dataset, gpt, xray
from microgpt.arrays import State
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam
from microgpt.documents import Batch, Weights
from microgpt.engines.base import Engine
from microgpt.feed import Feed, Pretraining
from microgpt.lab.answers import Answers
from microgpt.model import Model
from microgpt.quantization import QuantizationAware, Rounding
from microgpt.sampling import Sampling, sample
from microgpt.tokenizer import Tokenizer
from microgpt.training import VALIDATIONS, AnyFeed, Run, Settings
from microgpt.tuning import FineTuning, Reference, grow
from tests.conftest import LETTERS

TINY = {"n_layer": 1, "n_embd": 4, "n_head": 2, "block_size": 4}


def tiny(feed: AnyFeed, steps: int, **given: Any) -> Run[AnyFeed]:
    return Run(feed, Settings(steps), "scalar", sizes=TINY, **given)


def same(a: Checkpoint, b: Checkpoint) -> bool:
    """Tell whether two runs are the same to the bit."""
    arrays = [a.state[name] == b.state[name] for name in a.state.keys() | b.state.keys()]
    return all(map(np.all, arrays)) and json.dumps(a.training) == json.dumps(b.training)


def finish(run: Run[AnyFeed]) -> Run[AnyFeed]:
    for _ in run.advance():
        pass
    return run


def test_a_run_is_the_hearts(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(dataset.WORLD)
    assert gpt.main([path], steps=20) is None
    lines = capsys.readouterr().out.splitlines()
    run = microgpt.train(path, steps=20, engine="scalar")
    assert [f"{loss:.4f}" for loss in run.losses] == [line[-6:] for line in lines[1:21]]
    assert run.model().sample(20) == lines[21:], "the names follow from the same random state"


def test_a_loaded_model_goes_on_like_the_run(tmp_path: Path) -> None:
    run = microgpt.train("world", steps=2, engine="scalar")
    run.model().save(tmp_path / "m.safetensors")
    model = microgpt.load(tmp_path / "m.safetensors", engine="scalar")
    assert model.sample(3) == run.model().sample(3)
    assert model.sample(3, seed=1) == model.sample(3, seed=1) != model.sample(3, seed=2)
    assert model.training["feed"]["data"] == "world"
    assert "adam.t" not in model.checkpoint.state


def halves(began: State) -> Rounding:
    """Round to halves of the largest weight of each matrix as it began."""
    steps = {name: np.abs(matrix).max() / 2 for name, matrix in began.items()}
    return lambda state: {n: np.rint(state[n] / step) * step for n, step in steps.items()}


class MoreOfA(Feed):
    """Names sampled from the model; those with more of the letter a than usual weigh more."""

    batch_size, on_policy = 4, True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.rng, self.usual = tokenizer, random.Random(1), 0.0

    def batch(self, step: int, engine: Engine) -> tuple[Batch, Weights]:
        bos, longest = self.tokenizer.bos, engine.config.block_size
        batch = [[bos, *sample(engine, self.rng, Sampling(1.0)), bos] for _ in range(4)]
        rewards = [tokens.count(0) for tokens in batch]
        lengths = [min(len(tokens) - 1, longest) for tokens in batch]
        weights = [[(r - self.usual) / n] * n for r, n in zip(rewards, lengths, strict=True)]
        self.usual += 0.2 * (sum(rewards) / 4 - self.usual)
        return batch, weights

    def record(self) -> dict[str, Any]:
        return {"kind": "more of a"}

    def state(self) -> dict[str, Any]:
        return {"usual": self.usual}

    def load(self, state: dict[str, Any]) -> None:
        self.usual = state["usual"]


def test_a_feed_may_sample_from_the_model_that_it_teaches(tmp_path: Path) -> None:
    model = finish(tiny(Pretraining(dataset.load("world")), steps=100)).model()

    def tune() -> Run[MoreOfA]:
        settings = Settings(60, lr=0.05, optimizer=Adam(0.9, 0.95))
        return Run(MoreOfA(model.tokenizer), settings, "scalar", start=model.checkpoint)

    whole, run = finish(tune()), tune()
    assert whole.engine.state()["adam.t"] == 60, "an optimizer of its own"
    before, after = ("".join(each.sample(50, 1.0, seed=1)) for each in (model, whole.model()))
    assert after.count("a") > 2 * before.count("a")
    for _ in run.advance():
        if run.step == 7:
            break
    run.checkpoint().save(tmp_path / "run")
    saved = Checkpoint.load(tmp_path / "run")
    with pytest.raises(ValueError, match="its feed is 'more of a', which must be given again"):
        Run.resume(saved)
    resumed = finish(Run.resume(saved, MoreOfA(model.tokenizer)))
    assert run.losses + resumed.losses == whole.losses
    assert same(resumed.checkpoint(), whole.checkpoint())


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("stop", [1, 7, 12])
@pytest.mark.parametrize(("batch", "val"), [(1, 0.0), (3, 0.1)])
def test_a_resumed_run_is_one_never_interrupted(
    tmp_path: Path, stop: int, batch: int, val: float, quantized: bool
) -> None:
    data = dataset.of(dataset.load("world").documents[:80])
    quantization = partial(QuantizationAware, rounding=halves, start=5) if quantized else None

    def begin() -> Run[Pretraining]:
        return tiny(Pretraining(data, batch, val, seed=5), steps=13, quantization=quantization)

    whole, run = finish(begin()), begin()
    for _ in run.advance():
        if run.step >= stop:
            break
    run.checkpoint().save(tmp_path / "run")
    saved = Checkpoint.load(tmp_path / "run")
    resumed = finish(Run.resume(saved, Pretraining.of(saved, data), quantization=quantization))
    assert run.losses + resumed.losses == whole.losses
    assert resumed.model().sample(3) == whole.model().sample(3)
    assert same(resumed.checkpoint(), whole.checkpoint())


@pytest.fixture(scope="module")
def pairs() -> Run[Pretraining]:
    """Return a run on byte pairs, after its first step."""
    pytest.importorskip("tokenizers")
    data = dataset.of(dataset.load("world").documents[:200])
    run = Run(Pretraining(data, 2, 0.1, vocabulary=300), Settings(9), sizes=TINY)
    next(run.advance())
    return run


def test_a_run_on_byte_pairs_is_resumed_to_the_bit(tmp_path: Path, pairs: Run[Pretraining]) -> None:
    data = pairs.feed.dataset
    whole = finish(Run(Pretraining(data, 2, 0.1, vocabulary=300), Settings(9), sizes=TINY))
    pairs.checkpoint().save(tmp_path / "run")
    saved = Checkpoint.load(tmp_path / "run")
    resumed = finish(Run.resume(saved, Pretraining.of(saved, data)))
    assert pairs.losses + resumed.losses == whole.losses
    assert same(resumed.checkpoint(), whole.checkpoint())
    scores = [whole.model().score(text) for text in dataset.split(data.documents, 0.1).test]
    characters = sum(len(s.text) - len(s.cut) + s.complete for s in scores)
    nats = sum(sum(s.losses) for s in scores)
    assert whole.test_loss_per_character() == pytest.approx(nats / characters)


def test_byte_pairs_are_learned_from_what_is_not_held_out() -> None:
    pytest.importorskip("tokenizers")
    names = dataset.split([f"{a}{b}" for a in LETTERS for b in LETTERS], 0.1)
    marked = dataset.split([f"{name}QQ" for name in names.train], 0.1)
    both = dataset.of(names.train + marked.val + marked.test)
    held_out = Pretraining(both, val=0.1, vocabulary=300).tokenizer
    assert len(held_out.ids("QQ")) == 2
    assert len(Pretraining(both, vocabulary=300).tokenizer.ids("QQ")) == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda run: cartridge.check_model("classic", run.checkpoint()),
        lambda run: xray.record("emma", run.model()),
        lambda run: Answers(run.model()),
        lambda run: grow(run.checkpoint(), "abc"),
        lambda run: FineTuning(run.feed.dataset, Reference("m", run.checkpoint(), "native")),
    ],
)
def test_what_works_letter_by_letter_refuses_byte_pairs(
    pairs: Run[Pretraining], use: Callable[[Run[Pretraining]], Any]
) -> None:
    with pytest.raises(ValueError, match="the model's tokens are those of bpe:300") as error:
        use(pairs)
    assert "give a model that was trained without --tokenizer" in str(error.value)


def test_validation_happens_ten_times_and_at_the_end() -> None:
    few = dataset.of(dataset.load("world").documents[:200])
    run = tiny(Pretraining(few, val=0.1), steps=25)
    looks = [(p.step, p.val_loss, p.is_best) for p in run.advance() if p.val_loss is not None]
    assert [step for step, _, _ in looks] == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert len(looks) <= VALIDATIONS
    lowest = math.inf
    for _, loss, is_best in looks:
        assert is_best == (loss < lowest)
        lowest = min(lowest, loss)
    assert run.best_val_loss == lowest
    learned, val, test = ({*map(tuple, part)} for part in (run.feed.documents, run.val, run.test))
    assert not val & learned
    assert not test & (learned | val)


def test_a_progress_counts_the_tokens_that_were_predicted() -> None:
    """BOS ends a name where block_size, which is 4, lets the model see so far."""
    run = tiny(Pretraining(dataset.of(["a", "emma", "barbara"]), batch=3), steps=5)
    counted = [(len(p.losses), p.tokens) for p in run.advance()]
    assert sum(steps for steps, _ in counted) == 5
    assert all(tokens == steps * (2 + 4 + 4) for steps, tokens in counted)


def test_what_a_loss_means() -> None:
    run = tiny(Pretraining(dataset.load("world"), val=0.1), steps=1)
    uniform, bigram = run.baselines()
    assert uniform == math.log(27)
    assert 2 < bigram < 3
    assert run.test_loss() == pytest.approx(uniform, abs=0.1)


def corrupt(training: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) > 1:
        value = corrupt(training[path[0]], path[1:], value)
    return {**training, path[0]: value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("feed", "sha256"), "0"),
        (("feed", "data"), None),
        (("feed", "batch"), 0),
        (("feed", "kind"), "spoon"),
        (("feed",), None),
        (("fed",), 3),
        (("settings",), {}),
        (("settings", "steps"), -1),
        (("settings", "steps"), "1000"),
        (("settings", "colour"), 1),
        (("settings", "optimizer"), {"beta1": 2}),
        (("engine",), "steam"),
        (("options",), {"pressure": 3}),
        (("random",), [3, [1, 2], None]),
        (("random",), 5),
        (("step",), 10**6),
        (("step",), None),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(path: tuple[str, ...], value: Any) -> None:
    sound = tiny(Pretraining(dataset.load("world")), steps=3).checkpoint()
    bad = replace(sound, training=corrupt(sound.training, path, value))
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        Run.resume(bad)
    assert "\n" not in str(error.value)
    assert Run.resume(sound).step == 0
    with pytest.raises(ValueError, match="nothing to resume"):
        Run.resume(sound.model())


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"steps": True},
        {"lr": 0},
        {"lr": math.nan},
        {"lr": 2},
        {"lr": "0.01"},
        {"optimizer": {"beta1": 0.9}},
        {"warmup": -1},
        {"warmup": 1001},
        {"patience": 0},
        {"patience": 1.5},
        {"batch": -1},
        {"seed": -1},
        {"val": 0.5},
        {"val": -0.1},
        {"val": math.nan},
        {"val": "0.1"},
        {"n_embd": "16"},
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is"):
        microgpt.train("world", **settings)


def test_one_document_is_enough(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    run = microgpt.train(str(tmp_path / "one"), steps=3, batch=2, engine="scalar")
    assert run.config.vocab_size == 2
    assert run.losses[0] > run.losses[-1]
    assert set("".join(run.model().sample(5))) <= {"x"}


def test_numbers_of_any_type_are_numbers(tmp_path: Path) -> None:
    run = microgpt.train(
        ["emma", "ava", "mia"],
        steps=np.int64(2),
        lr=np.float32(0.01),
        batch=np.int64(1),  # type: ignore[arg-type]
        seed=np.int64(7),  # type: ignore[arg-type]
        val=np.float64(0),
        n_embd=np.int64(8),  # type: ignore[arg-type]
        n_head=np.int32(2),  # type: ignore[arg-type]
        optimizer=Adam(np.float32(0.9)),  # type: ignore[arg-type]
        options={"threads": np.int64(1)},
        engine="native",
    )
    run.checkpoint().save(tmp_path / "run")
    plain = microgpt.train(
        ["emma", "ava", "mia"],
        steps=2,
        lr=float(np.float32(0.01)),
        seed=7,
        n_embd=8,
        n_head=2,
        optimizer=Adam(float(np.float32(0.9))),
        options={"threads": 1},
        engine="native",
    )
    assert same(Checkpoint.load(tmp_path / "run"), plain.checkpoint())


class Interrupted(QuantizationAware):
    """An engine that Ctrl-C stops once, after the third step."""

    def train(self, batches: Any, learning_rates: Any, weights: Any = None) -> list[float]:
        taken = int(self.state()["adam.t"])
        if taken < 3 <= taken + len(batches):
            super().train(batches[: 3 - taken], learning_rates[: 3 - taken])
            raise KeyboardInterrupt
        return super().train(batches, learning_rates, weights)


def test_ctrl_c_in_the_middle_of_many_steps_loses_none() -> None:
    feed = Pretraining(dataset.load("world"))
    stopped = tiny(feed, steps=9, quantization=partial(Interrupted, rounding=halves, start=9))
    with pytest.raises(KeyboardInterrupt):
        finish(stopped)
    assert stopped.step == 3
    whole = finish(tiny(Pretraining(dataset.load("world")), steps=9))
    assert (finish(stopped).engine.state()["wte"] == whole.engine.state()["wte"]).all()


def test_a_list_of_documents_is_a_dataset() -> None:
    run = microgpt.train(["emma", "ava"], steps=3, engine="scalar")
    assert run.feed.tokenizer.vocabulary == "aemv"
    column = microgpt.train(np.array(["emma", "ava"]), steps=3, engine="scalar")
    assert same(column.checkpoint(), run.checkpoint())
    with pytest.raises(ValueError, match=r"came from \(a list\); give them again"):
        Run.resume(run.checkpoint())
    with pytest.raises(TypeError, match="document 1 is 5"):
        microgpt.train(["emma", 5], steps=3)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="data is 5; it must be"):
        microgpt.train(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="start is 5; it must be"):
        microgpt.train(start=5)  # type: ignore[arg-type]


def test_the_dtype_and_the_options_of_a_run_are_its_models() -> None:
    run = microgpt.train("world", steps=3, engine="native", dtype="float64", seed=3)
    heart = microgpt.train("world", steps=3, engine="scalar", seed=3)
    assert run.options == {"dtype": "float64"}
    assert run.model().score("emma").losses == pytest.approx(
        heart.model().score("emma").losses, rel=1e-12
    )


def test_a_run_gives_one_model_until_it_moves_on() -> None:
    run = tiny(Pretraining(dataset.load("world")), steps=6)
    steps = run.advance()
    next(steps)
    model = run.model()
    five = [run.model().sample(1) for _ in range(5)]
    assert [name for (name,) in five] == Model(run.checkpoint().model(), "scalar").sample(5)
    score = model.score("emma")
    next(steps)
    assert run.model() is not model
    assert model.score("emma") == score, "a model that was given does not change any more"


def test_a_run_tells_what_it_is() -> None:
    run = tiny(Pretraining(dataset.load("world")), steps=1200)
    next(run.advance())
    assert repr(run).startswith("<Run: step 1 of 1,200, loss 3.")
    assert repr(run).endswith("; 424 parameters; engine scalar>")


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("engine", ["scalar", "native"])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_copy_of_a_run_goes_on_by_itself(
    engine: str, quantized: bool, way: Callable[[Run[Pretraining]], Run[Pretraining]]
) -> None:
    quantization = partial(QuantizationAware, rounding=halves, start=0) if quantized else None
    feed = Pretraining(dataset.load("world"))
    run = Run(feed, Settings(6), engine, sizes=TINY, quantization=quantization)
    next(run.advance())
    run.model()
    other = way(run)
    assert finish(run).losses == finish(other).losses
    assert same(run.checkpoint(), other.checkpoint())


def test_a_model_goes_on_with_other_documents() -> None:
    first = microgpt.train("world", steps=20, engine="scalar", block_size=8)
    model = first.model()
    run = microgpt.train(["emma", "ava"], start=model, steps=30, engine="scalar")
    assert run.config == model.config
    assert run.feed.tokenizer.vocabulary == model.tokenizer.vocabulary
    assert run.losses[0] == pytest.approx(
        model.score(run.feed.tokenizer.decode(run.feed.documents[0][1:-1])).loss
    )
    assert run.losses[-1] < 0.5 * run.losses[0]
    resumed = Run.resume(run.checkpoint(), Pretraining.of(run.checkpoint(), run.feed.dataset))
    assert same(resumed.checkpoint(), run.checkpoint())
    more = microgpt.train(start=model, steps=1, engine="scalar")
    assert more.feed.dataset.name == "world", "what it learned from, where nothing else is given"
    with pytest.raises(ValueError, match="'É' .*not in the model's vocabulary"):
        microgpt.train(["Élo"], start=model)
    with pytest.raises(ValueError, match="has the model's sizes"):
        microgpt.train("world", start=model, n_embd=8)
    with pytest.raises(ValueError, match="another vocabulary"):
        Run(Pretraining(dataset.of(["ab"])), start=model.checkpoint)


def test_a_run_can_be_lengthened() -> None:
    feed = Pretraining(dataset.load("world"), batch=2, val=0.1)
    run = finish(tiny(feed, steps=10))
    longer = Run.resume(run.checkpoint(), steps=1000)
    assert (longer.step, longer.settings.steps) == (10, 1000)
    assert longer.settings.learning_rate(10) == 0.01 * (1 - 10 / 1000)
    assert longer.val == run.val, "the best loss so far is of the same documents"
    assert longer.best_val_loss == run.best_val_loss
    again = Run.resume(longer.checkpoint())
    assert (again.settings.steps, again.val) == (1000, run.val)
    with pytest.raises(ValueError, match="has taken 10 steps; it cannot have 9"):
        Run.resume(run.checkpoint(), steps=9)


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = Settings(steps=10, lr=1, warmup=4)
    rates = [settings.learning_rate(step) for step in range(10)]
    assert rates[:4] == pytest.approx([0.25, 0.45, 0.6, 0.7])
    assert rates[4:] == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    few = dataset.of(dataset.load("world").documents[:60])  # it soon knows them by heart
    feed, settings = Pretraining(few, val=0.2), Settings(200, lr=0.1, patience=2)
    run = Run(feed, settings, "scalar", sizes=TINY)
    seen = [progress for progress in run.advance() if progress.val_loss is not None]
    assert [progress.is_best for progress in seen[-2:]] == [False, False]
    assert [progress.stopped for progress in seen] == [False] * (len(seen) - 1) + [True]
    assert run.finished
    assert run.step < 200
    again = Pretraining(few, val=0.2)
    assert Run.resume(run.checkpoint(), again).finished
    assert not Run.resume(run.checkpoint(), again, steps=201).finished
    with pytest.raises(ValueError, match="patience needs documents held out"):
        microgpt.train("world", patience=3)


def test_a_run_knows_how_many_documents_it_does_not_read_to_their_end() -> None:
    feed = Pretraining(dataset.of(["abcd", "abcde", "abcdef", "ab"]))
    run = tiny(feed, steps=1)
    assert run.truncated == 2
    assert run.model().truncate(["abcd", "abcde", "abcdef"]) == {"abcd"}
