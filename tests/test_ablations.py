"""The script that measures the changes of gpt.py which the lab offers: whole, on a small scale."""

import json
import multiprocessing
from importlib import import_module
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        multiprocessing.get_start_method() != "fork", reason="its processes must see small numbers"
    ),
]


def test_changes_are_measured_and_a_stopped_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two steps on two documents; the same change twice loses the same, no change nothing."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    ablations = import_module("ablations")
    monkeypatch.setattr(ablations, "STEPS", 2)
    monkeypatch.setattr(ablations, "LOOKS", (1, 2))
    monkeypatch.setattr(ablations, "HELD_OUT", 2)
    line = "        mix += [dot(weights, column)"
    changed = {"title": "-", "from": line, "to": line.replace("weights", "weights[:1] * len(keys)")}
    same = {"title": "same", "from": line, "to": line}
    ideas = [{**idea, "measured": {"names": None}} for idea in (changed, same, changed)]
    path = tmp_path / "changes.json"
    path.write_text(json.dumps({"ideas": ideas}))
    monkeypatch.setattr("sys.argv", ["ablations.py", str(path)])
    ablations.main()
    page = json.loads(path.read_text("utf-8"))
    first, none, again = (idea["measured"]["names"]["differences"] for idea in page["ideas"])
    assert len(first) == len(ablations.SEEDS)
    assert first == again
    assert none == [0, 0, 0]
    assert any(first)
    assert len(page["tasks"]["names"]["ours"]) == 2
    page["ideas"][1]["measured"]["names"] = None
    page["ideas"][0]["measured"]["names"]["differences"] = "kept"
    path.write_text(json.dumps(page))
    ablations.main()
    page = json.loads(path.read_text("utf-8"))
    kept, none, _ = (idea["measured"]["names"]["differences"] for idea in page["ideas"])
    assert (kept, none) == ("kept", [0, 0, 0])
