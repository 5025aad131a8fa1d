"""Post-training: each algorithm against exact gradients; feeds that stop and go on."""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgpt
from microgpt import dataset, engines, rewards
from microgpt.arrays import State
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam, GPTConfig
from microgpt.dataset import Dataset
from microgpt.documents import Batch, Weights
from microgpt.engines.base import TrainableEngine, initial_state
from microgpt.evaluation import evaluate
from microgpt.sampling import Sampling, sample_many
from microgpt.training import AnyFeed, Run, Settings
from microgpt.tuning import (
    FineTuning,
    Preferences,
    Reference,
    Reinforcement,
    Rejection,
    grow,
    lineage,
)
from microgpt.tuning.algorithms import Rows, dpo, ppo, reinforce, rejection, sft
from microgpt.tuning.completions import Completion, complete, encode, given, text
from microgpt.tuning.feeds import differences
from microgpt.tuning.optimum import optimum
from tests.test_training import finish, same

TINY = GPTConfig(vocab_size=3, n_layer=1, n_embd=4, n_head=2, block_size=3)
BOS = 2
# Every document of two letters that a model of block size 3 can write, the last eight unfinished.
WRITTEN = [[*letters, BOS] for n in range(3) for letters in itertools.product((0, 1), repeat=n)]
WRITTEN += [[*letters] for letters in itertools.product((0, 1), repeat=3)]
ALL = [[BOS, *tokens] for tokens in WRITTEN]
WORTH = [random.Random(i).gauss(0, 1) for i in range(len(ALL))]


def model(seed: int) -> dict[str, Any]:
    """Return the parameters of a tiny model that has opinions."""
    return {name: 4 * array for name, array in initial_state(TINY, random.Random(seed)).items()}


def create(state: State) -> TrainableEngine:
    return engines.create_trainable("native", TINY, state, dtype="float64")


def flat(arrays: dict[str, Any]) -> Any:
    return np.concatenate([array.ravel() for array in arrays.values()])


def logs(engine: TrainableEngine, batch: Batch = ALL) -> Any:
    return np.array([-sum(row) for row in engine.losses(batch)])


def numeric(engine: TrainableEngine, objective: Callable[[], float], step: float = 1e-5) -> Any:
    """Return the gradient of an objective by central differences."""
    state = {name: array.copy() for name, array in engine.state().items() if "adam" not in name}
    slopes = []
    for array in state.values():
        for place in np.ndindex(array.shape):
            kept, ends = array[place], []
            for moved in (kept + step, kept - step):
                array[place] = moved
                engine.load(state)
                ends.append(objective())
            array[place] = kept
            slopes.append((ends[0] - ends[1]) / (2 * step))
    engine.load(state)
    return np.array(slopes)


def error(found: Any, exact: Any) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def descent(engine: TrainableEngine, weighed: tuple[Batch, Weights]) -> Any:
    """Return what a step would go down, from an algorithm's batch and weights."""
    return flat(engine.gradients(*weighed))


def test_every_document_is_written_once() -> None:
    assert np.exp(logs(create(model(1)))).sum() == pytest.approx(1)


def exact_gradient(engine: TrainableEngine, earned: Sequence[float]) -> Any:
    """Return the gradient of minus the mean of what documents earn, by enumeration."""
    probs = np.exp(logs(engine))
    weights = [
        [len(ALL) * p * r] * (len(d) - 1) for d, p, r in zip(ALL, probs, earned, strict=True)
    ]
    return flat(engine.gradients(ALL, weights))


def test_the_exact_gradient_is_that_of_reward_less_kl() -> None:
    engine, reference, beta = create(model(1)), logs(create(model(2))), 0.3

    def objective() -> float:
        lp = logs(engine)
        return -float((np.exp(lp) * (np.array(WORTH) - beta * (lp - reference))).sum())

    earned = np.array(WORTH) - beta * (logs(engine) - reference)
    assert error(exact_gradient(engine, earned), numeric(engine, objective)) < 1e-8


def including_itself(batch: Batch, numbers: Sequence[float], ratios: Rows) -> tuple[Batch, Weights]:
    mean = sum(numbers) / len(numbers)
    return batch, [[r - mean] * (len(d) - 1) for d, r in zip(batch, numbers, strict=True)]


def by_deviation(batch: Batch, numbers: Sequence[float], ratios: Rows) -> tuple[Batch, Weights]:
    return including_itself(batch, [r / (float(np.std(numbers)) + 1e-4) for r in numbers], ratios)


def by_length(batch: Batch, numbers: Sequence[float], ratios: Rows) -> tuple[Batch, Weights]:
    batch, rows = reinforce(batch, numbers, ratios)
    return batch, [[w / len(row) for w in row] for row in rows]


@pytest.mark.parametrize(
    ("estimate", "holds"),
    [(reinforce, True), (including_itself, False), (by_deviation, False), (by_length, False)],
)
def test_the_policy_gradient_is_the_exact_one_on_average(
    estimate: Callable[..., tuple[Batch, Weights]], holds: bool
) -> None:
    """Groups of 8 through the real sampler: only the leave-one-out baseline is unbiased."""
    engine = create(model(2))
    exact = exact_gradient(engine, WORTH)
    drawn = [[BOS, *tokens, BOS][:4] for tokens in sample_many(engine, 8000, 7, Sampling(1.0))]
    worth = {tuple(d): r for d, r in zip(ALL, WORTH, strict=True)}
    slopes = []
    for first in range(0, len(drawn), 8):
        batch = drawn[first : first + 8]
        found = descent(engine, estimate(batch, [worth[tuple(d)] for d in batch], [[0.0] * 3] * 8))
        slopes.append(float(found @ exact / (exact @ exact)))
    sigmas = (np.mean(slopes) - 1) / (np.std(slopes) / math.sqrt(len(slopes)))
    assert (abs(sigmas) < 4) == holds, sigmas


def test_the_kl_in_the_reward_is_the_kl_penalised_gradient() -> None:
    """Over all documents, each as often as it is written, reinforce is the exact gradient."""
    engine, reference, beta = create(model(1)), create(model(2)), 0.3
    ratios = differences(ALL, engine.losses(ALL), reference.losses(ALL))
    _, weights = reinforce(ALL, WORTH, ratios, beta)
    n, probs = len(ALL), np.exp(logs(engine))
    # undo the baseline, the same for all but for n / (n - 1), and weigh by probability
    rows = [[n * p * w * (n - 1) / n for w in row] for p, row in zip(probs, weights, strict=True)]
    found = flat(engine.gradients(ALL, rows))

    def objective() -> float:
        lp, old = logs(engine), logs(reference)
        return -float((np.exp(lp) * (np.array(WORTH) - beta * (lp - old))).sum())

    assert error(found, numeric(engine, objective)) < 1e-8


def test_the_clipped_gradient() -> None:
    old, engine = create(model(1)), create(model(1))
    state = engine.state()
    noise = random.Random(3)
    for name, _ in TINY.shapes():
        state[name] += np.array([[noise.gauss(0, 0.2) for _ in row] for row in state[name]])
    engine.load(state)
    before = old.losses(ALL)
    batch, weights = ppo(ALL, WORTH, differences(ALL, engine.losses(ALL), before), clip=0.2)
    assert 0 < sum(w == 0 for row in weights for w in row) < sum(map(len, weights)) / 2

    def objective() -> float:
        total = 0.0
        for a, *rows in zip(WORTH, engine.losses(ALL), before, strict=True):
            for new, was in zip(*rows, strict=True):
                q = math.exp(was - new)
                total -= min(q * a, min(max(q, 0.8), 1.2) * a)
        return total / len(ALL)

    assert error(descent(engine, (batch, weights)), numeric(engine, objective)) < 1e-8


@pytest.mark.parametrize("beta", [0.1, 0.5, 3.0])
def test_the_gradient_of_dpo(beta: float) -> None:
    engine, reference = create(model(1)), create(model(2))
    pairs = [*ALL[:14]]
    likes = [float(r) for r in WORTH[:14]]
    old = logs(reference, pairs)
    ratios = differences(pairs, engine.losses(pairs), reference.losses(pairs))

    def objective() -> float:
        moved = logs(engine, pairs) - old
        signs = np.sign(np.array(likes[::2]) - np.array(likes[1::2]))
        return float(np.log1p(np.exp(-beta * signs * (moved[::2] - moved[1::2]))).mean())

    found = descent(engine, dpo(pairs, likes, ratios, beta))
    assert error(found, numeric(engine, objective)) < 1e-8


def test_a_pair_far_apart_is_pulled_not_at_all_or_fully() -> None:
    """As far as 10,000 nats: nothing overflows."""
    pair = [[2, 0, 2], [2, 1, 2]]
    won, lost = ([[0.0, far], [0.0, -far]] for far in (5000.0, -5000.0))
    assert np.allclose(dpo(pair, [1, 0], won, 0.5)[1], 0)
    assert dpo(pair, [1, 0], lost, 0.5)[1] == [[1, 1], [-1, -1]]


def test_what_was_given_weighs_nothing() -> None:
    batch = [Completion([2, 0, 1, 2], 2), Completion([2, 0, 1], 1), [2, 1, 2]]
    ratios = [[9.0, 9.0, 0.5], [9.0, -0.5], [0.0, 0.0]]
    assert sft(batch, [1, 1, 1])[1] == [[0, 0, 1], [0, 1], [0.5, 0.5]]
    assert rejection(batch, [1, 0, 0.5], ratios)[1] == [[0, 0, 3], [0, 0], [0, 0]]
    assert rejection(batch, [0, 0, 0], ratios)[1] == [[0, 0, 0], [0, 0], [0, 0]]
    assert reinforce(batch, [1, 0, 0], ratios)[1] == [[0, 0, 1], [0, -0.5], [-0.5, -0.5]]
    assert reinforce(batch[:2], [1, 1], ratios[:2], beta=1)[1] == [[0, 0, -1], [0, 1]]
    assert ppo(batch[:2], [1, -1], [[0, 0, 0], [0, 0]])[1] == [[0, 0, 1], [0, -1]]


def test_groups_are_compared_with_themselves() -> None:
    batch = [[2, 0, 2]] * 4
    rows = reinforce(batch, [1, 0, 5, 9], [[0.0, 0.0]] * 4, group=2)[1]
    assert [row[0] for row in rows] == [1, -1, -4, 4]


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    """Return a small model of the built-in names."""
    run = microgpt.train("world", steps=1500, batch=16, lr=0.02, seed=1)
    return run.model().checkpoint


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    """Return a model small enough for gpt.py itself to tune."""
    names = dataset.load("world").documents[:200]
    sizes: dict[str, Any] = {"n_embd": 4, "n_head": 2, "block_size": 6}
    run = microgpt.train([*names, "a>b"], steps=100, engine="native", dtype="float64", **sizes)
    return run.model().checkpoint


def reference(checkpoint: Checkpoint, engine: str = "native") -> Reference:
    return Reference("base", checkpoint, engine, {"dtype": "float64"} if engine == "native" else {})


def letters(*documents: str) -> Dataset:
    return dataset.of(documents)


FEEDS: dict[str, Callable[[Reference], Any]] = {
    "fine-tuning": lambda r: FineTuning(
        letters("a>b", "ab>\tba", "ba"), r, 4, replay=0.25, old=letters("b", "bb", "bbb")
    ),
    "reinforcement": lambda r: Reinforcement(r, rewards.parse("vowel"), "vowel", batch=6),
    "prompted": lambda r: Reinforcement(
        r, rewards.parse("vowel"), "vowel", 0.1, 6, letters("a", "b>"), group=3
    ),
    "rejection": lambda r: Rejection(r, rewards.parse("vowel"), "vowel", batch=6),
    "preferences": lambda r: Preferences(r, letters("a\tb", "ba\tab", "aa\tbb"), batch=2),
}


def tune(feed: AnyFeed, start: Checkpoint, engine: str = "native", steps: int = 8) -> Run[AnyFeed]:
    options = {"dtype": "float64"} if engine == "native" else {}
    settings = Settings(steps, 0.01, Adam(0.9))
    return Run(feed, settings, engine, start=start, options=options)


@pytest.mark.parametrize("kind", FEEDS)
def test_every_feed_is_the_same_on_both_engines_and_resumes_to_the_bit(
    kind: str, small: Checkpoint, tmp_path: Path
) -> None:
    ends = {}
    for engine in ("scalar", "native"):
        whole, run = (tune(FEEDS[kind](reference(small, engine)), small, engine) for _ in range(2))
        ends[engine] = finish(whole)
        for _ in run.advance():
            if run.step >= 3:
                break
        run.checkpoint().save(tmp_path / engine)
        again = FEEDS[kind](reference(small, engine))
        resumed = finish(Run.resume(Checkpoint.load(tmp_path / engine), again))
        assert run.losses + resumed.losses == whole.losses
        assert same(resumed.checkpoint(), whole.checkpoint())
    assert ends["native"].losses == pytest.approx(ends["scalar"].losses, rel=1e-9)
    other = {"batch": 5} if kind == "fine-tuning" else {"seed": 4}
    changed = FEEDS[kind](reference(small))
    changed.batch_size, changed.seed = other.get("batch", changed.batch_size), other.get("seed", 0)
    with pytest.raises(ValueError, match="the feed is not what the run began with: its"):
        Run.resume(Checkpoint.load(tmp_path / "native"), changed)


def test_fine_tuning_without_prompts_is_pretraining() -> None:
    start = microgpt.train("world", steps=50, batch=4)
    names = dataset.of(dataset.load("world").documents[:300])
    settings = Settings(40, 0.003, Adam(0.9))
    more = microgpt.Pretraining(names, 8, 0.1, 7, start.feed.tokenizer.vocabulary)
    tuned = FineTuning(names, Reference("base", start.checkpoint()), 8, 0.1, 7)
    runs = [finish(Run(feed, settings, start=start.model().checkpoint)) for feed in (more, tuned)]
    assert runs[0].losses == runs[1].losses
    assert runs[0].test_loss() == runs[1].test_loss()
    assert all((runs[0].engine.state()[n] == a).all() for n, a in runs[1].engine.state().items())


def test_a_prompt_is_not_learned(small: Checkpoint) -> None:
    feed = FineTuning(letters("aa>\tb"), reference(small), batch=2)
    run = finish(tune(feed, small, steps=60))
    before, after = microgpt.Model(small).score("aa>b"), run.model().score("aa>b")
    assert after.losses[3] < 0.5 * before.losses[3], "the completion is"
    assert sum(after.losses[:3]) > sum(before.losses[:3]) - 0.5
    assert run.losses[0] == pytest.approx(sum(before.losses[3:]) / 2)
    long = FineTuning(letters("a\tbabababa"), reference(small), batch=1).batch(0)[1]
    assert long == [[0, 0.2, 0.2, 0.2, 0.2, 0.2]], "what is beyond block_size counts nothing"
    plain = finish(tune(FineTuning(letters("aa>b"), reference(small), batch=2), small, steps=60))
    assert sum(plain.model().score("aa>b").losses[:3]) < 0.5 * sum(before.losses[:3])


def test_new_characters_get_rows_of_their_own(base: Checkpoint) -> None:
    grown = grow(base, "ab>1")
    assert grown.characters == base.characters + "1>"
    for name in ("wte", "lm_head"):
        old, new = base.state[name], grown.state[name]
        assert (new[:-3] == old[:-1]).all()
        assert (new[-1] == old[-1]).all(), "BOS stays last"
        assert new.shape == (29, 16)
    others = set(base.state) - {"wte", "lm_head"}
    assert all((grown.state[name] == base.state[name]).all() for name in others)
    assert (grow(base, ">1").state["wte"] == grown.state["wte"]).all()
    assert grow(base, "abc").vocabulary == base.vocabulary


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a\tb\tb", "with one TAB"),
        ("a\t", "with one TAB"),
        ("abbaab\tb", "the prompt 'abbaab' fills all 6 positions"),
        ("é", "'é' (U+00E9) in 'é' is not in the model's vocabulary"),
    ],
)
def test_a_line_that_cannot_be_learned(small: Checkpoint, line: str, says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        encode(line, microgpt.Model(small).tokenizer, 6)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pair", ["a", "a\tb\tc", "a\ta", "a\t"])
def test_a_line_that_is_no_pair(small: Checkpoint, pair: str) -> None:
    with pytest.raises(ValueError, match="is not a pair; give chosen<TAB>rejected"):
        Preferences(reference(small), letters(pair))


def test_settings_of_a_feed_outside_their_range(small: Checkpoint) -> None:
    of, reward = reference(small), rewards.parse("vowel")
    with pytest.raises(ValueError, match="replay is 1; it must be at least 0 and less than 1"):
        FineTuning(letters("a"), of, replay=1, old=letters("b"))
    with pytest.raises(ValueError, match="beta is -1; it must be 0 or more"):
        Reinforcement(of, reward, beta=-1)
    with pytest.raises(ValueError, match="batch is 10; it must be a multiple of group, 8"):
        Reinforcement(of, reward, batch=10, prompts=letters("a"))
    with pytest.raises(ValueError, match="beta is 0; it must be more than 0"):
        Preferences(of, letters("a\tb"), beta=0)


def rewarded(base: Checkpoint, reward: Any, beta: float, lr: float, **given: Any) -> Any:
    """Return the report of the model that 200 steps of 128 make."""
    feed = Reinforcement(Reference("base", base), reward, beta=beta, **given)
    run = finish(Run(feed, Settings(200, lr, Adam(0.9)), start=base))
    return evaluate(run.model(), microgpt.Model(base), reward=reward, n=1000)


def test_a_reward_is_reached_near_the_model(base: Checkpoint) -> None:
    vowel = rewards.parse("vowel")
    report = rewarded(base, vowel, 0.05, 0.003)
    assert report.reward > 0.95
    assert report.distinct > 0.9
    floor = -math.log(evaluate(microgpt.Model(base), reward=vowel, n=4000).reward or 1)
    assert floor - 0.1 < report.kl < floor + 0.7, "rejection sampling attains the floor"


def test_without_kl_a_reward_is_hacked_by_a_document_that_never_ends(base: Checkpoint) -> None:
    """One document, and it does not end; KL is the cure."""
    vowel = rewards.parse("vowel")
    hacked = rewarded(base, vowel, 0.0, 0.03, ended=False)
    assert hacked.reward > 0.95
    assert hacked.unfinished > 0.9
    assert hacked.distinct < 0.5
    cured = rewarded(base, vowel, 0.05, 0.03, ended=False)
    assert cured.reward > 0.9
    assert cured.unfinished < 0.05
    assert cured.distinct > 0.8


def test_without_kl_a_graded_reward_is_hacked_by_one_name(base: Checkpoint) -> None:
    """All that it writes is one name, and it ends; forbidding endless names cures nothing."""
    like = rewards.parse("like:world")
    hacked = rewarded(base, like, 0.0, 0.003)
    assert hacked.distinct < 0.1
    assert hacked.commonest_share > 0.5
    assert hacked.unfinished < 0.05
    cured = rewarded(base, like, 0.2, 0.003)
    assert cured.distinct > 0.7
    before = evaluate(microgpt.Model(base), reward=like, n=1000).reward
    assert cured.reward > (before or 0) + 0.1


def test_an_unfinished_document_earns_the_least(base: Checkpoint) -> None:
    """It takes away the hole, not what lies behind it: KL is still needed."""
    vowel = rewards.parse("vowel")
    report = rewarded(base, vowel, 0.0, 0.03, ended=True)
    assert report.unfinished < 0.05
    assert report.distinct < 0.9


@pytest.mark.parametrize(
    ("name", "beta"), [("vowel", 0.3), ("like:world", 0.2), ("like:world", 0.3)]
)
def test_reinforcement_ends_where_the_closed_form_says(
    base: Checkpoint, name: str, beta: float
) -> None:
    reward, start = rewards.parse(name), microgpt.Model(base)
    written = complete(start.engine, [], 20000, 5, Sampling(1.0))
    earned = rewards.judge(reward, [text(document, start.tokenizer) for document in written])
    best = optimum(earned, beta)
    assert best.effective > 3000
    report = rewarded(base, reward, beta, 0.01)
    assert report.reward == pytest.approx(best.reward, abs=0.03)
    assert report.kl == pytest.approx(best.kl, abs=0.06)
    far = optimum(earned, beta / 2)
    assert abs(far.reward - best.reward) > 0.03, "the test would tell another beta"


RULES = """
[[rule]]
name = "four to eight letters"
must = "^.{4,8}$"
[[rule]]
name = "no three consonants in a row"
must_not = "[^aeiouy]{3}"
[[rule]]
name = "no double letter"
must_not = "(.)\\\\1"
[[rule]]
name = "nobody's name"
novel = true
[[rule]]
name = "ends in a vowel or n"
must = "[aeioun]$"
"""

LEVELS = {  # of each reward over seeds that chose nothing: beta, the least mean, the most KL
    "vowel": (0.05, 0.98, 1.3),
    "length:5": (0.05, 0.98, 2.0),
    "has:z": (0.05, 0.98, 4.2),
    "novel": (0.05, 0.95, 0.9),
    "like:world": (0.2, -2.3, 1.1),
}


@pytest.fixture(scope="module", params=[101, 102, 103, 104, 105])
def fresh(request: pytest.FixtureRequest, published: Path) -> tuple[int, Checkpoint]:
    """Return a model of the published names, trained and to be tuned with a seed of its own."""
    data = {"steps": 3000, "batch": 32, "val": 0.1, "seed": request.param}
    return request.param, microgpt.train("names", **data).model().checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_every_reward_reaches_its_level(fresh: tuple[int, Checkpoint], name: str) -> None:
    seed, base = fresh
    beta, least, most = LEVELS[name]
    report = rewarded(base, lineage.reward(base, name), beta, 0.003, seed=seed)
    print(f"{name} {seed} reward {report.reward:.3f} KL {report.kl:.2f} {report.distinct:.3f}")
    assert report.reward >= least
    assert report.kl <= most
    assert report.distinct > 0.85


@pytest.mark.slow
def test_written_rules_are_kept(fresh: tuple[int, Checkpoint], tmp_path: Path) -> None:
    seed, base = fresh
    (tmp_path / "rules.toml").write_text(RULES)
    reward = lineage.reward(base, str(tmp_path / "rules.toml"))
    report = rewarded(base, reward, 0.1, 0.003, seed=seed)
    print(f"rules {seed} reward {report.reward:.3f} KL {report.kl:.2f}")
    assert report.reward >= 0.9, "a document breaks a rule at most once in ten"
    assert report.kl <= 2


def test_a_step_has_draws_of_its_own(small: Checkpoint) -> None:
    of = reference(small)
    engine = engines.create_trainable("native", small.config, small.state, dtype="float64")
    feed = Reinforcement(of, rewards.parse("vowel"), batch=16)
    first, again, second = (feed.batch(step, engine)[0] for step in (0, 0, 1))
    assert first == again, "so that a run can be resumed"
    assert first != second


def test_what_a_batch_says_of_itself(small: Checkpoint) -> None:
    """KL and entropy are of what it wrote, not of the prompt; distinct ones are counted."""
    moved = {**small.state, "lm_head": 1.5 * np.array(small.state["lm_head"])}
    engine = engines.create_trainable("native", small.config, moved, dtype="float64")
    asked = letters("a", "b>")
    feed = Reinforcement(reference(small), rewards.parse("vowel"), "", 0.1, 64, asked, group=32)
    batch, _ = feed.batch(0, engine)
    nats = [
        np.mean([sum(row[given(d) :]) for d, row in zip(batch, of.losses(batch), strict=True)])
        for of in (engine, reference(small))
    ]
    now, before = map(float, nats)
    assert feed.measures()["entropy"] == pytest.approx(now)
    assert feed.measures()["kl"] == pytest.approx(before - now)
    assert before > now, "what it writes is likelier to it than to the model before"
    assert feed.measures()["distinct"] == len({tuple(d) for d in batch}) / 64
    ended = [d for d in batch if d[-1] == feed.tokenizer.bos]
    right = sum(text(d, feed.tokenizer)[-1] in "aeiou" for d in ended)
    assert feed.measures()["reward"] == right / 64


def test_a_tie_is_half_won_and_pairs_come_in_an_order_of_the_seed(small: Checkpoint) -> None:
    engine = engines.create_trainable("native", small.config, small.state, dtype="float64")
    pairs = letters("abcdeabcde\ta", *(f"{a}{b}\t{b}{b}{a}" for a in "abc" for b in "de"))
    feeds = [Preferences(reference(small), pairs, batch=3, seed=seed) for seed in (1, 1, 2)]
    batches = [feed.batch(0, engine)[0] for feed in feeds]
    assert batches[0] == batches[1] != batches[2]
    assert feeds[0].measures() == {"won": 0.5, "chosen": 0, "rejected": 0}
    assert max(len(d) for pair in feeds[0].pairs for d in pair) == 7, "as it is read"


def test_what_was_held_out_is_not_replayed(small: Checkpoint) -> None:
    old = dataset.of([f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"])
    parts = dataset.split(old.documents, 0.2)
    feed = FineTuning(letters("aaa"), reference(small), 2, replay=0.5, old=old, old_val=0.2)
    replayed = {feed.tokenizer.decode(document[1:-1]) for document in feed.replayed}
    assert replayed == set(parts.train)
    batch, _ = feed.batch(0)
    assert [feed.tokenizer.decode(d[1:-1]) in replayed for d in batch] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_replay_keeps_what_answering_would_forget(base: Checkpoint, seed: int) -> None:
    """A name is answered by its first letter and its length, also one that is held out."""
    own = {name for name in microgpt.Model(base).sample(3000, 1.0, seed=1) if 1 < len(name) < 10}
    tags = dataset.of([f"{name}>\t{name[0]}{len(name)}" for name in sorted(own)])
    of = Reference("base", grow(base, ">123456789"))
    world, settings = dataset.load("world"), Settings(1000, 0.005, Adam(0.9))
    names = dataset.split(world.documents, 0.1)
    for replay, least, most in ((0.25, 0, 2.6), (0.0, 10, 99)):
        feed = FineTuning(tags, of, 64, 0.1, seed, replay, world, 0.1)
        after = finish(Run(feed, settings, start=of.checkpoint)).model()
        found = evaluate(after, data={"names": names}, reward=feed.reward, prompts=feed.questions)
        assert (found.reward or 0) > 0.95
        assert (found.greedy or 0) > 0.97
        assert least < found.losses["names, held out"] < most
