"""A model: what it scores, samples, and how it is shared."""

import copy
import math
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import microgpt
from microgpt import engines, gpt
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.language import LanguageModel
from microgpt.llm import pretrained
from microgpt.model import Model, Total
from tests.conftest import EMMA, LETTERS


def test_scores_are_those_of_the_heart() -> None:
    run = microgpt.train("world", steps=1, engine="scalar")
    params = gpt.init(run.config, random.Random(0))
    for name, array in run.model().checkpoint.state.items():
        params[name] = [[gpt.Value(x) for x in row] for row in array.tolist()]
    score = run.model().score("emma")
    assert score.loss == pytest.approx(gpt.loss(params, run.config, EMMA).data, rel=1e-12)
    assert score.tokens == ["e", "m", "m", "a", ""]
    assert score.probability == pytest.approx(math.exp(-5 * score.loss))
    assert score.bigram == run.bigram.losses(EMMA)
    assert len(run.model().score("m" * 40).tokens) == 16, "as far as block_size lets it read"
    with pytest.raises(ValueError, match="vocabulary"):
        run.model().score("Émile")


def test_a_score_says_what_was_not_read(checkpoint: Checkpoint) -> None:
    model = Model(checkpoint, "scalar")
    short, full, long = (model.score("m" * count) for count in (15, 16, 19))
    assert (short.complete, short.cut, short.tokens) == (True, "", [*"m" * 15, ""])
    assert (full.complete, full.cut, full.tokens) == (False, "", [*"m" * 16])
    assert (long.complete, long.cut, long.tokens) == (False, "mmm", [*"m" * 16])


def test_scores_add_up(checkpoint: Checkpoint) -> None:
    model = Model(checkpoint, "scalar")
    scores = [model.score(text) for text in ("emma", "mia")]
    total = Total.of(iter(scores))
    assert (total.documents, total.tokens) == (2, 9)
    assert total.nats == pytest.approx(sum(scores[0].losses) + sum(scores[1].losses))
    assert total.loss == pytest.approx((5 * scores[0].loss + 4 * scores[1].loss) / 9)
    assert total.perplexity == pytest.approx(math.exp(total.loss))
    with pytest.raises(ValueError, match="no documents"):
        Total.of([])


@pytest.mark.parametrize("seed", [None, 3])
def test_what_is_excluded_is_not_sampled(checkpoint: Checkpoint, seed: int | None) -> None:
    model = Model(checkpoint, "scalar")
    same = copy.copy(model)
    several = model.sample(6, seed=seed)
    expected = [text for text in several if text not in several[1:3]]
    kept = same.sample(8, seed=seed, exclude={*several[1:3]})
    assert kept[: len(expected)] == expected
    assert len(kept) == 8
    assert not {*kept} & {*several[1:3]}


def test_where_all_is_excluded_it_gives_up() -> None:
    model = microgpt.train(["a"], steps=200, lr=0.1, engine="native").model()
    assert model.sample(3, temperature=0) == ["a", "a", "a"]
    for seed in (None, 1):
        with pytest.raises(ValueError, match="of 200 documents drawn, 0 are not excluded, and 2"):
            model.sample(2, temperature=0, seed=seed, exclude={"a"})
    assert model.sample(0, exclude={"a"}) == []


def test_twenty_names_are_sampled_where_no_number_is_given(checkpoint: Checkpoint) -> None:
    assert len(Model(checkpoint).sample()) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": -1},
        {"count": 1.5},
        {"count": True},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": "1"},
        {"temperature": "0.5"},
        {"top_k": 2.5},
        {"top_p": "1"},
    ],
)
def test_what_is_no_setting_is_refused(checkpoint: Checkpoint, wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name.replace('_', '-')} is"):
        Model(checkpoint).sample(**wrong)  # type: ignore[arg-type]


# ---- Shared --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["native", "scalar", "fixed"])
def test_threads_share_a_model(name: str) -> None:
    """Each asks in another order, so that no two want the same at once."""
    if reason := engines.missing(name):
        pytest.skip(reason)
    config = GPTConfig(n_embd=4, n_head=2)
    model = Model(Checkpoint(config, LETTERS, initial_state(config, random.Random(1))), name)
    questions: list[Callable[[], object]] = [
        lambda: model.sample(2, 0),
        lambda: model.sample(2, 0, prefix="ma"),
        lambda: model.sample(4, 1, seed=5),
        lambda: model.score("maximilian").losses,
    ]
    alone = [ask() for ask in questions]

    def ask(first: int) -> list[object]:
        return [questions[(first + i) % 4]() == alone[(first + i) % 4] for i in range(20)]

    with ThreadPoolExecutor(4) as threads:
        assert all(all(right) for right in threads.map(ask, range(4)))


WAYS: list[Callable[[Model], Model]] = [
    copy.copy,
    copy.deepcopy,
    lambda model: pickle.loads(pickle.dumps(model)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["native", "scalar"])
def test_a_copy_of_a_model_goes_on_by_itself(
    checkpoint: Checkpoint, name: str, way: Callable[[Model], Model]
) -> None:
    model = Model(checkpoint, name)
    model.sample(2)
    other = way(model)
    assert other.engine is not model.engine
    assert other.sample(3) == model.sample(3)
    assert other.score("emma") == model.score("emma")
    assert (other.engine_name, other.options) == (model.engine_name, model.options)


def test_processes_share_a_model(checkpoint: Checkpoint) -> None:
    model = Model(checkpoint)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        scores = [*processes.map(model.score, ["emma", "ava"])]
    assert scores == [model.score("emma"), model.score("ava")]


def test_what_is_no_text_is_refused(checkpoint: Checkpoint) -> None:
    model = Model(checkpoint)
    with pytest.raises(TypeError, match="the text is 5; it must be a string"):
        model.score(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the text is None"):
        model.sample(prefix=None)  # type: ignore[arg-type]


def test_a_model_tells_what_it_is(checkpoint: Checkpoint) -> None:
    assert repr(Model(checkpoint, "scalar")) == (
        "<Model: vocab_size=27, n_layer=1, n_embd=16, n_head=4, block_size=16; "
        "4,192 parameters; engine scalar>"
    )


def test_a_model_is_looked_at_as_published_ones_are(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoint.save(tmp_path / "m")
    seen = LanguageModel(pretrained.load(tmp_path / "m"), "scalar").inspect("emma")
    assert seen["tokens"] == ["BOS", "e", "m", "m", "a"]
    ours = engines.create("scalar", checkpoint.config, checkpoint.state).inspect(EMMA[:-1])
    for name in ("logits", "attention", "residual"):
        assert seen[name] == pytest.approx(ours[name], abs=1e-12)
    assert seen["lens_probs"][-1, :, 0] == pytest.approx(ours["probs"].max(axis=-1), abs=1e-12)
