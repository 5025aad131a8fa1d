"""The lab's server: whom it answers, what it answers, and that nothing outlives its use."""

import json
import math
import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgpt
from microgpt import dataset, engines
from microgpt.engines.fixed import FixedEngine
from microgpt.lab.answers import Answers
from microgpt.lab.jobs.controls import Controls
from microgpt.lab.plane import plane
from microgpt.lab.server import MOST
from microgpt.model import Model
from microgpt.sampling import Sampling, probabilities
from microgpt.snes import rom
from tests.lab.conftest import Lab, ended, events, start, stop, workers

SOURCE = Path(__file__).parents[2] / "microgpt" / "gpt.py"
linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watching a process needs Linux")


# ---- Whom it answers -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "origin", ["http://example.org", "null", "http://127.0.0.1:1", "https://localhost"]
)
def test_a_page_elsewhere_is_refused(lab: Lab, origin: str) -> None:
    with lab.send("POST", "/api/ask/model", b"{}", Origin=origin) as response:
        assert response.status == 403
        assert "own page" in json.load(response)["error"]


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1", "127.0.0.1:1", "localhost.example.org"]
)
def test_another_name_for_this_machine_is_refused(lab: Lab, host: str) -> None:
    for path in ("/", "/api/ask/model"):
        with lab.send("POST" if path != "/" else "GET", path, Host=host) as response:
            assert response.status == 400


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "Bearer é"]
)
@pytest.mark.parametrize("path", ["ask/model", "run/training", "command/x", "nothing"])
def test_without_the_token_there_is_no_answer(lab: Lab, shown: str, path: str) -> None:
    shown = shown.format(token=lab.token)
    with lab.send("POST", f"/api/{path}", b"{}", Authorization=shown) as response:
        assert response.status == 403


def test_the_page_itself_may_ask(lab: Lab) -> None:
    origin = f"http://127.0.0.1:{lab.port}"
    with lab.send("POST", "/api/ask/model", b"{}", Origin=origin) as response:
        assert response.status == 200
    with lab.send("GET", "/") as response:
        page = response.read().decode()
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert lab.token not in page
    with lab.send("GET", "/app.mjs") as response:
        assert response.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/....//server.py",
        "//etc/passwd",
        "/%00",
    ],
)
def test_nothing_but_the_page_is_served(lab: Lab, path: str) -> None:
    with lab.send("GET", path) as response:
        assert response.status in (400, 404, 405)
        assert b"import" not in response.read()


# ---- What it answers -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b" " * (MOST + 1), "longer than"),
        (json.dumps({"text": "a" * 150_000}).encode(), "the model can see 16"),
        ('{"text": "😀"}'.encode(), "not in the model's vocabulary"),
        (b'{"text": null}', "must be a string"),
        (b'{"text": "a", "temperature": NaN}', "temperature is nan"),
        (b'{"text": "a", "temperature": -1}', "temperature is -1"),
        (b'{"text": "a", "top_k": 0}', "top-k is 0"),
        (b'{"text": "a", "top_p": 2}', "top-p is 2"),
        (b"{}", "lacks a part"),
    ],
)
def test_a_question_that_cannot_be_answered_gets_one_clear_line(
    lab: Lab, body: bytes, line: str
) -> None:
    with lab.send("POST", "/api/ask/next", body) as response:
        assert response.status == 422
        error = json.load(response)["error"]
    assert line in error
    assert "\n" not in error


def test_there_is_no_such_question_or_run(lab: Lab) -> None:
    assert lab.post("/api/ask/everything", {})[0] == 422
    assert lab.post("/api/command/nobody", {})[0] == 422
    with lab.send("POST", "/api/run/everything", b"{}") as response:
        assert "no run of the kind" in [*events(response)][-1]["error"]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


@given(
    name=st.sampled_from(["model", "next", "names", "trace", "backward", "order", "fixed"]),
    question=st.dictionaries(
        st.sampled_from(
            [
                "text",
                "prefix",
                "count",
                "seed",
                "temperature",
                "top_k",
                "top_p",
                "look",
                "node",
                "m",
                "n",
            ]
        ),
        scalars | st.sampled_from(["emma", "around", "turn"]),
    ),
)
def test_whatever_is_asked_there_is_an_answer_or_a_value_error(
    model: Model, name: str, question: dict[str, Any]
) -> None:
    try:
        json.dumps(Answers(model).answer(name, question), allow_nan=False)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("text", ["", "ma", "zzzz"])
def test_the_next_letter_is_the_engines(lab: Lab, model: Model, text: str) -> None:
    dials = {"temperature": 0.7, "top_k": 5, "top_p": 0.9}
    status, answer = lab.post("/api/ask/next", {"text": text, **dials})
    assert status == 200
    model.engine.reset()
    for token in [26, *model.tokenizer.ids(text)]:
        logits = model.engine.step(token).tolist()
    assert answer["logits"] == pytest.approx(logits, abs=1e-6)
    assert answer["chosen"] == pytest.approx(probabilities(logits, Sampling(0.7, 5, 0.9)), abs=1e-6)
    losses = model.score(text).losses[: len(text)]
    assert answer["letters"] == pytest.approx(np.exp(-np.array(losses)), abs=1e-6)


@pytest.mark.parametrize("text", ["", "ma", "abcdefghijklmnop"])
def test_a_keystroke_is_one_look_at_the_engine(
    model: Model, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    looks, inspect = list[list[int]](), model.engine.inspect

    def counted(tokens: list[int]) -> Any:
        looks.append(tokens)
        return inspect(tokens)

    monkeypatch.setattr(model.engine, "inspect", counted)
    Answers(model).next(text)
    assert looks == [[26, *model.tokenizer.ids(text)][:16]]


def test_names_are_those_that_the_model_samples(lab: Lab, model: Model) -> None:
    question = {"prefix": "k", "count": 8, "seed": 7, "temperature": 0.8, "top_k": None}
    status, names = lab.post("/api/ask/names", question)
    assert status == 200
    assert [n["name"] for n in names] == model.sample(8, 0.8, seed=7, prefix="k")
    for n in names:
        assert n["probs"][0] is None  # k was given
        assert all(0 < p <= 1 for p in n["probs"][1:])


@pytest.mark.parametrize("place", [{"node": -1}, {"node": 10**9}, {"node": "1"}, {"node": 1.5}])
def test_there_is_no_such_value(lab: Lab, place: dict[str, Any]) -> None:
    status, answer = lab.post("/api/ask/backward", {"text": "emma", "look": "around"} | place)
    assert status == 422
    assert "not a place in the graph" in answer["error"]


def test_each_engine_answers_for_itself(lab: Lab, model: Model) -> None:
    host = lab.post("/api/ask/host", {})[1]
    assert {*host["present"], *host["missing"]} == {*engines.ENGINES}
    tokens = model.tokenizer.encode("emma")
    for name in engines.ENGINES:
        answer = lab.post("/api/ask/engine", {"name": name, "text": "emma"})[1]
        if reason := engines.missing(name):
            assert reason == host["missing"][name]
            assert reason in answer["refused"]
            continue
        engine = engines.create(name, model.config, model.checkpoint.state)
        assert answer["microseconds"] > 0
        assert answer["loss"] == pytest.approx(Model(model.checkpoint, name).score("emma").loss)
        assert np.allclose(answer["logits"], engine.inspect(tokens[:-1])["logits"], atol=1e-6)
        if name == "snes":
            assert answer["cartridge"] == "turbo"  # for a model of 16 positions
            assert answer["logits"] == answer["integers"], "not one bit differs"
    assert lab.post("/api/ask/engine", {"name": "abacus", "text": "emma"})[0] == 422


def test_without_an_assembler_the_other_engines_answer() -> None:
    lab = start(PATH="")
    host = lab.post("/api/ask/host", {})[1]
    assert host["missing"]["snes"] == rom.CC65
    assert "scalar" in host["present"]
    status, answer = lab.post("/api/ask/engine", {"name": "snes", "text": "emma"})
    assert (status, [*answer]) == (200, ["refused"])
    assert rom.CC65 in answer["refused"]
    assert lab.post("/api/ask/engine", {"name": "scalar", "text": "emma"})[1]["loss"] > 0
    stop(lab)


def test_an_engine_that_sees_less_reads_what_it_sees(lab: Lab) -> None:
    name = trained(lab, block_size=32)
    text = "abcdefghijklmnopqrst"
    for engine, positions in (("native", 21), ("snes", 16)):
        if not engines.missing(engine):
            question = {"name": engine, "text": text}
            answer = lab.post(f"/api/ask/engine?model={name}", question)[1]
            assert len(answer.get("logits", "." * positions)) == positions


def test_a_full_context_is_no_error(lab: Lab) -> None:
    status, answer = lab.post("/api/ask/next", {"text": "abcdefghijklmnop"})
    assert (status, answer["full"], len(answer["letters"])) == (200, True, 16)


def test_the_trace_is_of_gpt_py_itself(lab: Lab, model: Model) -> None:
    status, trace = lab.post("/api/ask/trace", {"text": "emma"})
    assert status == 200
    assert trace["loss"] == pytest.approx(model.score("emma").loss, abs=1e-6)
    assert len(trace["positions"]) == 5


# ---- Runs ----------------------------------------------------------------------------------------
def test_a_run_trains_as_a_run_does(lab: Lab) -> None:
    settings = {"steps": 6, "batch": 2, "seed": 5, "lr": 0.01}
    with lab.send("POST", "/api/run/training", json.dumps(settings).encode()) as response:
        heard = [*events(response)]
    assert heard[-1] == {"done": True}
    losses = [loss for event in heard for loss in event.get("losses", ())]
    run = microgpt.train("world", steps=6, batch=2, seed=5)
    assert losses == pytest.approx(run.losses, abs=1e-6)
    about = next(event for event in heard if "bigram" in event)
    assert (about["uniform"], about["bigram"]) == pytest.approx(run.baselines())
    last = [event for event in heard if "points" in event][-1]
    assert last["at"] == 6
    assert last["names"] == run.model().sample(6, seed=5)


def test_the_parameter_followed_moves_as_was_said(lab: Lab) -> None:
    """What a look calls the next update is what Adam then does."""
    question = {"steps": 3, "paused": True}
    with lab.send("POST", "/api/run/training", json.dumps(question).encode()) as response:
        looks: list[dict[str, Any]] = []
        run = ""
        for event in events(response):
            run = event.get("run", run)
            if "followed" in event:
                looks.append(event["followed"])
                lab.post(f"/api/command/{run}", {"step": 1})
    assert len(looks) == 4
    for before, after in pairwise(looks):
        moved = after["value"] - before["value"]
        assert moved == pytest.approx(before["update"], abs=1e-6)
        assert moved


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"data": "/etc/passwd"}, "no documents"),
        ({"n_embd": 10**6}, "the limit is 100,000,000"),
        ({"n_head": 3}, "multiple of n_head"),
        ({"engine": "abacus"}, "no engine"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_run_that_cannot_begin_says_why(lab: Lab, question: dict[str, Any], line: str) -> None:
    with lab.send("POST", "/api/run/training", json.dumps(question).encode()) as response:
        heard = [*events(response)]
    assert line in heard[-1]["error"]


@linux
def test_bits_are_measured_once_on_names_that_were_held_out(lab: Lab, model: Model) -> None:
    before = set(workers(lab))
    with lab.send("POST", "/api/run/bits", b"{}") as response:
        heard = [*events(response)]
    _, about, *points, done = heard
    assert done == {"done": True}
    names = dataset.split(dataset.load("world").documents, 0.05).test[: about["names"]]
    assert about["unseen"]  # a name's own hash holds it out, of this list and of the published
    losses = [model.score(name).loss for name in names]
    assert about["float"] == pytest.approx(np.mean(losses), abs=1e-6)
    measured = {(p["m"], p["n"]): p for p in points}
    assert {m + n for m, n in measured} == {*range(2, 17)}
    assert (1, 15) not in measured  # its sums could leave 32 bits
    for m, n in [(8, 8), (2, 3)]:
        engine = FixedEngine(model.config, model.checkpoint.state, m=m, n=n)
        loss = engine.loss([model.tokenizer.encode(name) for name in names])
        assert measured[m, n]["loss"] == pytest.approx(loss)
        assert measured[m, n]["saturations"] == engine.saturations
        assert measured[m, n]["choosing"] != pytest.approx(loss)
    with lab.send("POST", "/api/run/bits", b"{}") as response:
        assert [*events(response)] == heard
        assert set(workers(lab)) <= before


@linux
def test_a_closed_tab_ends_its_run(lab: Lab) -> None:
    before = set(workers(lab))
    with lab.send("POST", "/api/run/training", json.dumps({"steps": 10**6}).encode()) as response:
        heard = events(response)
        while "losses" not in next(heard):
            pass
        (worker,) = set(workers(lab)) - before
    assert ended(worker)


@linux
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_server_leaves_no_process(how: signal.Signals, paused: bool) -> None:
    lab = start()
    question = json.dumps({"steps": 10**6, "paused": paused}).encode()
    with lab.send("POST", "/api/run/training", question) as response:
        heard = events(response)
        while "points" not in next(heard):
            pass
        (worker,) = workers(lab)
        lab.process.send_signal(how)
        assert ended(worker)
        lab.process.wait(30)
    stop(lab)


@pytest.mark.slow
@linux
def test_a_slow_reader_slows_its_run_and_nothing_piles_up(lab: Lab) -> None:
    """A client that reads no more: its run comes to rest, whatever it had to say."""

    def memory() -> int:
        status = Path(f"/proc/{lab.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def written(pid: int) -> int:
        return int(Path(f"/proc/{pid}/io").read_text().split("wchar:")[1].split()[0])

    others, before = set(workers(lab)), memory()
    question = {"steps": 10**9, "val": 0}
    with lab.send("POST", "/api/run/training", json.dumps(question).encode()) as response:
        heard = events(response)
        while "losses" not in next(heard):
            pass
        (worker,) = set(workers(lab)) - others
        looks = [written(worker)]
        while (len(looks) < 300 and len(set(looks[-10:])) > 1) or len(looks) < 10:
            select.select([], [], [], 0.2)
            looks.append(written(worker))
        assert len(set(looks[-10:])) == 1, "it goes on writing to nobody"
        assert looks[-1] < 32 * 2**20  # what the system's buffers and ours hold
        assert memory() - before < 32 * 2**20
        while written(worker) == looks[-1]:  # it goes on as soon as it is heard
            next(heard)


def test_twenty_clients_at_once_are_all_served(lab: Lab) -> None:
    """Each has a run of its own: all wait until all are there, and each hears its own losses."""
    there = threading.Barrier(20, timeout=120)

    def losses(seed: int) -> list[float]:
        question = json.dumps({"steps": 3, "seed": seed, "val": 0, "paused": True}).encode()
        with lab.send("POST", "/api/run/training", question) as response:
            heard, run = [], ""
            for event in events(response):
                heard += event.get("losses", [])
                run = event.get("run", run)
                if event.get("at") == 0:
                    there.wait()
                    lab.post(f"/api/command/{run}", {"paused": False})
        assert event == {"done": True}
        return heard

    with ThreadPoolExecutor(20) as clients:
        heard = [*clients.map(losses, range(20))]
    for seed, mine in enumerate(heard):
        run = microgpt.train("world", steps=3, seed=seed)
        assert mine == pytest.approx(run.losses, abs=1e-6)


# ---- The model that a run has trained ------------------------------------------------------------
def trained(lab: Lab, **settings: Any) -> str:
    """Train a model in the lab; return the name that it can be asked about by."""
    question = json.dumps({"steps": 3, "seed": 9, "n_embd": 8} | settings).encode()
    with lab.send("POST", "/api/run/training", question) as response:
        *_, name = (event["model"] for event in events(response) if "model" in event)
    return str(name)


def test_a_model_that_a_run_has_trained_answers_as_the_labs_own_does(lab: Lab) -> None:
    name = trained(lab)
    run = microgpt.train("world", steps=3, seed=9, n_embd=8)
    status, described = lab.post(f"/api/ask/model?model={name}", {})
    assert (status, described["config"]["n_embd"], described["steps"]) == (200, 8, 3)
    own = lab.post("/api/ask/model", {})[1]
    assert own["config"]["n_embd"] == 16, "who has not asked for it is answered about the lab's own"
    question = {"prefix": "k", "count": 4, "seed": 1}
    names = lab.post(f"/api/ask/names?model={name}", question)[1]
    assert [n["name"] for n in names] == Model(run.checkpoint().model()).sample(
        4, 1.0, seed=1, prefix="k"
    )


def test_runs_take_the_model_that_they_are_asked_about(lab: Lab) -> None:
    name = trained(lab)
    source = SOURCE.read_text("utf-8")
    for of, n_embd in ((f"?model={name}", 8), ("", 16)):
        question = json.dumps({"text": "emma", "source": source}).encode()
        with lab.send("POST", f"/api/run/edit{of}", question) as response:
            _, _, parted = islice(events(response), 3)
        loss = lab.post(f"/api/ask/trace{of}", {"text": "emma"})[1]["loss"]
        assert parted["losses"][0] == pytest.approx(loss, abs=1e-12), n_embd


def test_a_run_at_rest_leaves_the_model_of_that_step(lab: Lab) -> None:
    question = {"steps": 3, "paused": True}
    names, run = list[str](), ""
    with lab.send("POST", "/api/run/training", json.dumps(question).encode()) as response:
        for event in events(response):
            run = event.get("run", run)
            names += [event["model"]] if "model" in event else []
            if "at" in event:
                lab.post(f"/api/command/{run}", {"step": 1})
    described = [lab.post(f"/api/ask/model?model={name}", {})[1] for name in names]
    assert [answer["steps"] for answer in described] == [1, 2, 3]


@pytest.mark.parametrize("name", ["nobody-3", "../model", "/etc/passwd", "%00", "é", "a" * 5000])
@pytest.mark.parametrize("path", ["ask/model", "run/edit", "run/bits", "run/console"])
def test_there_is_no_such_model(lab: Lab, path: str, name: str) -> None:
    status, answer = lab.post(f"/api/{path}?model={quote(name, safe='%')}", {})
    assert status == 422
    assert "that model is gone" in answer["error"]


@linux
def test_a_lab_that_ends_leaves_no_file(tmp_path: Path) -> None:
    lab = start(TMPDIR=str(tmp_path))
    trained(lab)
    assert [*tmp_path.rglob("*.safetensors")]
    stop(lab)
    assert not [*tmp_path.iterdir()]


# ---- Waiting -------------------------------------------------------------------------------------
def test_a_command_that_comes_just_before_a_rest_is_not_slept_through() -> None:
    controls = Controls()
    controls.apply({"paused": True})
    assert controls.take(0.0) == math.inf
    controls.apply({"step": 1})
    controls.wait(math.inf)
    assert controls.take(0.0) == 0
    assert controls.take(0.0) == math.inf
    controls.apply({"paused": False})
    assert controls.take(0.0) == 0
    assert 0 < controls.take(time.monotonic() + 10) <= 10


# ---- The map of letters --------------------------------------------------------------------------
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16, 40]))
def test_the_plane_shows_as_much_as_a_plane_can(seed: int, n_embd: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(27, n_embd))
    points = np.array(plane(vectors.tolist(), None))
    kept = np.linalg.eigvalsh(np.cov(vectors.T))[-2:].sum()  # another way to the same
    assert (points**2).sum() / 26 == pytest.approx(kept)
    for before in (-points, points * [1, -1], points @ [[0.6, 0.8], [-0.8, 0.6]]):
        moved = vectors + rng.normal(size=vectors.shape) * 1e-6
        turned = plane(moved.tolist(), [(x, y) for x, y in before.tolist()])
        assert np.allclose(turned, before, atol=1e-3)  # as it lay, not as it happens to come out
