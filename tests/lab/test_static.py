"""The exported lab: files alone, under any path; its numbers are those of Python outside."""

import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

import microgpt
from microgpt import dataset, gpt, xray
from microgpt.cli import main
from microgpt.config import Adam
from microgpt.feed import Pretraining
from microgpt.lab.answers import Answers
from microgpt.lab.export import HOST, PARTS, PYODIDE
from microgpt.lab.jobs.edit import documents
from microgpt.lab.server import MODEL
from microgpt.model import Model
from microgpt.rewards.builtin import ends_in_vowel
from microgpt.sampling import Sampling, probabilities
from microgpt.school.learner import Learner
from microgpt.training import Run, Settings
from microgpt.tuning import Reference, Reinforcement
from tests.lab.conftest import check_axe, close, needs_axe, numbers

TESTS = Path(__file__).parents[1]
NPM = TESTS / "node_modules" / "pyodide"
UNDER = "/some/where/"

# Two functions of the first lesson; the end of a name is still to be added.
HALF = """
def decode(tokens, alphabet): return "".join(alphabet[token] for token in tokens)
def encode(doc, alphabet): return [len(alphabet)] + [alphabet.index(c) for c in doc] """

# Keeps what the page and its workers say to each other; changes nothing of it.
OVERHEAR = """
globalThis.said = [];
globalThis.Worker = class extends Worker {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({ data }) => said.push(data));
  }
  postMessage(data) {
    said.push(data);
    super.postMessage(data);
  }
};
"""


# ---- Writing it ----------------------------------------------------------------------------------
@pytest.fixture
def core(tmp_path: Path) -> Path:
    """Return a folder with files of the names that Pyodide's have."""
    folder = tmp_path / "core"
    folder.mkdir()
    for name in PARTS:
        (folder / name).write_text(name)
    return folder


def lab(*argv: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["lab", *map(str, argv)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_the_site_is_files(tmp_path: Path, core: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    site.mkdir()  # an empty folder is as good as none
    assert lab("--export", site, "--pyodide", core) == 0
    assert "http.server" in capsys.readouterr().out
    names = {file.name for file in site.rglob("*") if file.is_file()}
    assert {"index.html", "python.mjs", "microgpt.zip", *PARTS} <= names
    assert {file.name for file in (site / "wasm").iterdir()} == {"kernel.mjs", "kernel.wasm"}
    assert "server.mjs" not in names
    page = (site / "index.html").read_text("utf-8")
    assert "server.mjs" not in page
    assert "script-src 'self' 'wasm-unsafe-eval';" in page
    assert 'src="/' not in page
    assert 'href="/' not in page
    with zipfile.ZipFile(site / "microgpt.zip") as archive:
        assert archive.read("microgpt/gpt.py") == Path(gpt.__file__).read_bytes()
        held = json.loads(archive.read("microgpt/data/models.json"))
    assert (
        json.loads(held[""][1])["state"]["wte"]
        == Model.load(MODEL).checkpoint.state["wte"].tolist()
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["core", "site"]


def test_the_site_holds_the_model_that_was_named(tmp_path: Path, core: Path) -> None:
    run = Run(Pretraining(dataset.Dataset("few", ("ab", "ba"), "")), Settings(steps=1))
    run.checkpoint().save(tmp_path / "few.safetensors")
    site = tmp_path / "site"
    assert lab(tmp_path / "few.safetensors", "--export", site, "--pyodide", core) == 0
    rows = json.loads((site / "recorded.json").read_text("utf-8"))
    described = [answer for name, _, answer in rows if name == "model"]
    assert [(found["vocabulary"], found["built_in"]) for found in described] == [("ab", False)]
    (listed,) = [answer for name, _, answer in rows if name == "models"]
    assert listed == [  # the lessons speak of the one that ships with microgpt
        {"name": "", "title": "few.safetensors"},
        {"name": "shipped", "title": "the built-in model"},
    ]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("file", "not an empty folder"),
        ("full", "not an empty folder"),
        ("nowhere", "No such file"),
        ("lacking", f"lacks pyodide.asm.wasm; `npm install pyodide@{PYODIDE}`"),
        ("model", "is not a model"),
        ("published", "is a published model: too large for a page; leave it out"),
        ("breaks", "no space left"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(
    tmp_path: Path,
    core: Path,
    wrong: str,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = tmp_path / "site"
    argv: list[object] = ["--export", site, "--pyodide", core]
    if wrong == "file":
        site.write_text("mine")
    elif wrong == "full":
        site.mkdir()
        (site / "mine").write_text("mine")
    elif wrong == "nowhere":
        argv[1] = tmp_path / "no" / "where"
    elif wrong == "lacking":
        (core / "pyodide.asm.wasm").unlink()
    elif wrong == "model":
        argv.append(core / "pyodide.mjs")
    elif wrong == "published":
        argv += ["--beside", core]
    else:

        def full(*args: object) -> None:
            raise OSError(28, "no space left on device")

        monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    before = sorted(tmp_path.rglob("*"))
    assert lab(*argv) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert sorted(tmp_path.rglob("*")) == before  # nothing half written


def test_everyone_names_the_same_pyodide() -> None:
    wanted = json.loads((TESTS / "package.json").read_text("utf-8"))["devDependencies"]
    assert wanted["pyodide"] == PYODIDE
    assert f"pyodide@{PYODIDE}" in (TESTS.parent / "docs" / "lab.md").read_text("utf-8")


def test_without_numpy_lists_give_the_same_numbers() -> None:
    """What a browser's Python does, done by ours: it believes to be there, and finds no numpy."""
    code = """
import sys
if sys.argv[1] == "browser":
    sys.platform = "emscripten"
    sys.modules["numpy"] = sys.modules["safetensors"] = None
from microgpt import dataset, engines
from microgpt.model import Model
from microgpt.feed import Pretraining
from microgpt.training import Run, Settings
assert "scalar" in engines.present()
run = Run(Pretraining(dataset.load("world")), Settings(steps=2), "scalar", sizes={"n_layer": 2})
print([p.losses for p in run.advance()])
model = Model(run.checkpoint(), "scalar")  # the optimizer's state too
print(model.sample(2), model.score("emma").losses)
print({name: seen.tolist() for name, seen in model.engine.inspect([26, 4, 12]).items()})
print({name: numbers.tolist() for name, numbers in run.engine.gradients([[26, 0, 26]]).items()})
wrong = dict(run.engine.state())
wrong["wte"] = wrong["wpe"]
try:
    run.engine.load(wrong)
except ValueError as error:
    print(error)
"""
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, where], capture_output=True, text=True, check=True
        ).stdout
        for where in ("browser", "here")
    ]
    for line, expected in zip(*(each.split("\n") for each in printed), strict=True):
        assert (line == expected) is True, line[:80]
    assert "has the shape (16, 16)" in printed[0]


# ---- Seeing it -----------------------------------------------------------------------------------
class Files(SimpleHTTPRequestHandler):
    """What any web server does: it sends files."""

    def translate_path(self, path: str) -> str:
        assert path.startswith(UNDER), f"{path} is outside {UNDER}"
        return super().translate_path(path.removeprefix(UNDER[:-1]))

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with suppress(ConnectionError):  # the page has left
            super().copyfile(source, outputfile)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not NPM.exists():
        pytest.skip("pyodide is not installed: npm install --prefix tests")
    folder = tmp_path_factory.mktemp("exported") / "site"
    assert lab("--export", folder, "--pyodide", NPM) == 0
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{UNDER}"
        server.shutdown()
        thread.join()


@contextmanager
def opened(
    browser: Browser, address: str, prepare: Callable[[Page], None], **how: Any
) -> Iterator[Page]:
    """Open the site; at the end, nothing went wrong, or out."""
    wrong: list[str] = []
    asked: list[str] = []
    with browser.new_context(reduced_motion="reduce", **how) as context:
        context.on("request", lambda request: asked.append(request.url))
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        page = context.new_page()
        prepare(page)
        page.goto(f"{address}#play")
        yield page
    assert not wrong
    assert all(url.startswith((address, "data:")) for url in asked), asked


@pytest.fixture(scope="module")
def loaded(browser: Browser, address: str) -> Iterator[Page]:
    """Return a page whose Python is there, and which nothing was recorded for."""

    def prepare(page: Page) -> None:
        def hasty(route: Route) -> None:
            body = route.fetch().text()
            assert "1000 * silence" in body
            body = body.replace("1000 * silence", "globalThis.limit ?? 1000 * silence")
            route.fulfill(body=body, content_type="text/javascript")

        page.add_init_script(OVERHEAR)
        page.route("**/recorded.json", lambda route: route.fulfill(body="[]"))
        page.route("**/hosts/pyodide.mjs", hasty)

    with opened(browser, address, prepare) as page:
        page.locator(".name").first.wait_for(timeout=120_000)
        yield page


@pytest.fixture
def page(loaded: Page) -> Page:
    """Return that page with the site's own model, however the last test ended."""
    go(loaded, "play")
    if (back := loaded.get_by_role("button", name="Put it back")).is_visible():
        back.click()
    expect(loaded.locator("#which")).to_have_text("Model: 4,192 numbers, 12,000 steps")
    loaded.evaluate("() => { delete globalThis.limit; }")
    return loaded


GO = """(place) => new Promise((shown) => {
  if (location.hash === `#${place}`) return shown();
  const heard = ({ newURL }) => {
    if (!newURL.endsWith(`#${place}`)) return;
    removeEventListener("hashchange", heard);
    shown();
  };
  addEventListener("hashchange", heard);
  location.hash = place;
})"""


def go(page: Page, place: str) -> None:
    page.evaluate(GO, place)
    page.locator(f"main:not(.outdated) > .view.{place.split('?')[0]}").wait_for()


def answers(page: Page, name: str) -> list[Any]:
    """Return what Python answered whenever the page asked this."""
    said = page.evaluate("() => said")
    asked = {m["id"] for m in said if m.get("name") == name}
    return [json.loads(m["reply"])["answer"] for m in said if "reply" in m and m["id"] in asked]


def events(page: Page) -> list[dict[str, Any]]:
    """Return the events of the last run."""
    said = page.evaluate("() => said")
    began = max(i for i, message in enumerate(said) if "run" in message)
    return [json.loads(message["event"]) for message in said[began:] if "event" in message]


def alike(a: Any, b: Any) -> bool:
    """Tell whether two answers are one, but for last bits, where exp() and log() may differ."""
    if isinstance(a, float):
        return bool(a == pytest.approx(b, rel=1e-12, abs=1e-15))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


@needs_axe
def test_numbers_are_there_before_python_is(browser: Browser, address: str) -> None:
    """Recorded answers paint the first screens; what needs Python is said, and waits."""

    def withhold(page: Page) -> None:
        page.route("**/pyodide/*", lambda route: None)  # never answered

    model = Model.load(MODEL)
    with opened(browser, address, withhold) as page:
        expect(page.locator(".name")).to_have_count(12)
        logits = model.engine.inspect([26, *model.tokenizer.ids("ma")])["logits"][-1].tolist()
        seen = numbers(page.locator(".bar"), "data-p")
        assert close(seen, probabilities(logits, Sampling(0.7)))
        expect(page.locator(".waiting")).to_contain_text("Python is on its way")
        go(page, "forward")
        loss = f"{model.score('emma').loss:.4f}"
        page.locator(".position").last.click()
        expect(page.locator(".verdict")).to_contain_text(loss)
        go(page, "backward")
        page.locator(".diagram svg").wait_for()
        go(page, "training")
        expect(page.get_by_label("Engine")).to_have_value("wasm")
        page.get_by_role("button", name="Train", exact=True).click()
        go(page, "engines")
        expect(page.locator(".absent")).to_contain_text("nativeit runs where microgpt is installed")
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 640})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        check_axe(page)
        go(page, "play")
        page.locator(".name").first.wait_for()
        check_axe(page)


def test_scale_needs_no_python(browser: Browser, address: str) -> None:
    def withhold(page: Page) -> None:
        page.route("**/pyodide/*", lambda route: None)  # never answered

    with opened(browser, address, withhold) as page:
        go(page, "scale?model=deepseek-v3")
        expect(page.locator(".scale-title")).to_contain_text("671,026,404,352")
        expect(page.locator(".overview tr")).to_have_count(8)


def test_where_python_cannot_be_loaded_the_page_says_so(browser: Browser, address: str) -> None:
    def lose(page: Page) -> None:
        page.route("**/pyodide.asm.wasm", lambda route: route.abort())

    with opened(browser, address, lose) as page:
        expect(page.locator("#status")).to_contain_text("reload the page to try again")
        expect(page.locator(".waiting")).to_be_empty()
        expect(page.locator(".name")).to_have_count(12)


def test_opened_as_a_file_it_says_what_to_do(browser: Browser, site: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((site / "index.html").as_uri())
        expect(page.locator("main")).to_contain_text("python -m http.server")


def test_its_answers_are_those_of_python_outside(page: Page) -> None:
    """The trace of a name, every event and number of it, is that of the same file run here."""
    outside = Answers(Model.load(MODEL, "scalar"))
    go(page, "forward")
    page.locator(".verdict").wait_for(state="attached")
    *_, trace = answers(page, "trace")
    assert alike(trace, outside.trace("emma"))
    page.keyboard.press("End")
    page.locator(".units .cell").first.click()
    page.locator("[data-moved]").wait_for()
    (moved,) = [found for found in answers(page, "backward") if "nudged" in found]
    node = int(page.locator(".units .cell").first.get_attribute("data-node") or "")
    assert alike(moved, outside.backward("emma", "nudge", node=node, digits=2))
    go(page, "backward")
    page.locator(".diagram svg").wait_for()
    (whole,) = [found for found in answers(page, "backward") if "positions" in found]
    assert alike(whole, outside.backward("emma", "document"))
    assert answers(page, "host") == [HOST]


def test_its_bars_are_the_engines_probabilities(page: Page) -> None:
    model = Model.load(MODEL)
    go(page, "play")
    page.get_by_label("The beginning of a name").fill("chr")
    page.get_by_label("Top-k").fill("4")
    expect(page.locator(".bar.out")).to_have_count(23)
    logits = model.engine.inspect([26, *model.tokenizer.ids("chr")])["logits"][-1].tolist()
    assert close(numbers(page.locator(".bar"), "data-p"), probabilities(logits, Sampling(0.7, 4)))
    expected = model.sample(12, 0.7, 4, seed=42, prefix="chr")
    assert [n.get_attribute("aria-label") for n in page.locator(".name").all()] == expected


def test_it_trains_as_the_native_engine_does(page: Page) -> None:
    go(page, "training?steps=500")
    page.get_by_label("Speed").fill("6")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".headline")).to_contain_text("step 500 of 500", timeout=60_000)
    heard = events(page)
    losses = [loss for event in heard for loss in event.get("losses", ())]
    run = microgpt.train("world", steps=500, val=0.05, engine="native")
    assert losses == pytest.approx(run.losses, rel=1e-5)
    assert sum(losses[-50:]) < 0.9 * sum(losses[:50])
    *_, names = (event["names"] for event in heard if "names" in event)
    assert names == run.model().sample(6, seed=42)
    (val_loss,) = [event["val_loss"] for event in heard if event.get("step") == 500]
    assert val_loss == pytest.approx(run.engine.loss(run.val), rel=1e-5)


def test_a_model_trained_on_the_page_is_every_screens(page: Page) -> None:
    go(page, "training?steps=40&seed=44")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Play with this model").click(timeout=60_000)
    expect(page.locator("#which")).to_have_text("Model: trained here, 40 steps")
    go(page, "play?text=ma")
    own = microgpt.train("world", steps=40, seed=44, val=0.05).model()
    logits = own.engine.inspect([own.tokenizer.bos, *own.tokenizer.ids("ma")])["logits"][-1]
    assert numbers(page.locator(".bar"), "data-logit") == pytest.approx(logits.tolist(), rel=1e-4)
    go(page, "inside?text=emma&beside=")  # beside the site's own
    lines = page.locator(".pane:last-child .best i[data-other]")
    expect(lines).to_have_count(5)
    seen = own.engine.inspect(own.tokenizer.encode("emma")[:-1])["probs"][-1]
    first = page.locator(".pane:first-child .best li")
    assert numbers(first, "data-p") == pytest.approx(sorted(seen, reverse=True)[:5], rel=1e-3)
    go(page, "edit?text=emma")  # a run, and so another Python
    page.get_by_role("button", name="no residual").click()
    page.locator(".moved").wait_for(timeout=60_000)
    parted = next(event for event in events(page) if "same" in event)
    assert parted["losses"][0] == pytest.approx(own.score("emma").loss, rel=1e-4)
    page.get_by_role("button", name="Put it back").click()
    expect(page.locator("#which")).to_have_text("Model: 4,192 numbers, 12,000 steps")
    go(page, "play?text=zo")
    expect(page.locator(".name").first).to_have_attribute("aria-label", re.compile("^zo"))


def test_a_run_takes_commands_outlives_its_screen_and_ends(page: Page) -> None:
    go(page, "training?engine=scalar&steps=1000")
    its = page.workers[-1]
    page.get_by_role("button", name="Step", exact=True).click()
    page.locator(".norm").first.wait_for(timeout=60_000)
    expect(page.locator(".steps")).to_have_text("0")
    for step in ("1", "2"):
        page.get_by_role("button", name="Step", exact=True).click()
        expect(page.locator(".steps")).to_have_text(step)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".steps")).not_to_have_text("2")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    go(page, "play")
    go(page, "training")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    with its.expect_event("close"):
        page.get_by_role("button", name="Reset").click()


def test_it_tunes_as_the_native_engine_does(page: Page) -> None:
    go(page, "tune?reward=vowel")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".written li")).to_have_count(12, timeout=60_000)
    for step in ("1", "2"):
        page.get_by_role("button", name="Step", exact=True).click()
        expect(page.locator(".steps")).to_have_text(step, timeout=60_000)
    seen = [step for event in events(page) for step in event.get("seen", ())]
    base = Model.load(MODEL).checkpoint
    feed = Reinforcement(Reference("base", base), ends_in_vowel)
    run = Run(feed, Settings(200, 0.003, Adam(0.9)), start=base)
    outside = [progress.measures for progress, _ in zip(run.advance(), range(2), strict=False)]
    for mine, theirs in zip(seen, outside, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


def test_it_learns_from_a_list_of_ones_own(page: Page) -> None:
    go(page, "training?data=own&steps=20&engine=wasm")
    page.get_by_label("Your list").fill("Ångström\nab\nba\nabba")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".verdict-box")).to_contain_text("over the last 20 steps", timeout=60_000)
    expect(page.locator(".verdict-box")).to_contain_text(
        "11 tokens"
    )  # Å n g s t r ö m a b, and BOS
    assert next(e for e in events(page) if "bigram" in e)["held_out"] == 0
    page.get_by_role("button", name="Reset").click()


def test_gpt_py_learns_as_it_does_outside(page: Page) -> None:
    """The losses that gpt.py would print are those that it prints here."""
    go(page, "edit?text=emma")
    page.get_by_role("button", name="no residual").click()
    some = page.get_by_role("img", name=re.compile("Loss after [2-9][0-9] steps"))
    some.wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    heard = events(page)
    losses = [event["pair"][0] for event in heard if "pair" in event]
    learner = Learner(gpt, documents("names"))
    outside = [learner.step() for _ in losses]
    assert [f"{loss:.4f}" for loss in losses] == [f"{loss:.4f}" for loss in outside]
    assert alike(losses, outside)
    (parted,) = [event for event in heard if "losses" in event]
    assert alike(parted["losses"][0], xray.record("emma", Model.load(MODEL), until="loss").loss)


def test_a_loop_without_end_is_stopped(page: Page) -> None:
    go(page, "edit")
    area = page.get_by_label("gpt.py, yours to change")
    area.fill(
        area.input_value().replace("def rmsnorm(x):", "def rmsnorm(x):\n    while True: pass")
    )
    page.evaluate("() => { globalThis.limit = 500; }")
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".wrong")).to_contain_text("a loop never end", timeout=60_000)
    expect(page.get_by_role("button", name="Run both")).to_be_visible()
    go(page, "play?text=zo")
    expect(page.locator(".said")).to_contain_text("name in")
    expect(page.locator(".name").first).to_have_attribute("aria-label", re.compile("^zo"))


def test_a_lesson_is_checked_by_the_schools_judge(page: Page) -> None:
    go(page, "lessons?lesson=1")
    page.get_by_label("Your prediction").fill("5")
    page.get_by_role("button", name="Show the answer").click()
    page.get_by_role("button", name="Write it here").click()
    area, said = page.get_by_label("mygpt.py", exact=True), page.locator(".checked")
    expect(area).to_have_value(re.compile("raise NotImplementedError"))
    for source, answer in ((HALF, "Not yet: "), (HALF + "+ [len(alphabet)]", "Passed: ")):
        area.fill(source)
        page.get_by_role("button", name="Check", exact=True).click()
        expect(said).to_contain_text(answer, timeout=60_000)
    page.evaluate("() => { globalThis.limit = 500; }")
    area.fill("while True: pass")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(said).to_contain_text("does a loop never end?", timeout=60_000)
