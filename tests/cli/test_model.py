"""microgpt sample, chat, score and info."""

import json
from pathlib import Path

import numpy as np
import pytest

import microgpt
from tests.cli.conftest import Command, complaint
from tests.conftest import LETTERS


def test_sampling_from_a_terminal(cli: Command, model: str) -> None:
    first = cli("sample", model, "-n", "3", "--prefix", "em")
    seed = first.stderr.removeprefix("--seed ").strip()
    assert len(first.stdout.splitlines()) == 3
    assert all(name.startswith("em") for name in first.stdout.splitlines())
    again = cli("sample", model, "-n", "3", "--prefix", "em", "--seed", seed)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    answer = json.loads(cli("sample", model, "-n", "3", "--prefix", "em", "--json").stdout)
    assert len(answer["documents"]) == 3
    assert cli("sample", model, "-n", "3", "--seed", str(answer["seed"]), "--prefix", "em").stdout
    greedy = cli("sample", model, "-n", "2", "--temperature", "0").stdout.split("\n")
    assert greedy[0] == greedy[1]


def test_chat_and_score_and_info(cli: Command, model: str) -> None:
    done = cli("chat", model, stdin="em\nÉ\nan\n")
    assert [line[:2] for line in done.stdout.splitlines()] == ["em", "an"]
    assert "not in the model's vocabulary" in done.stderr
    scored = cli("score", model, "emma", "ann").stdout
    assert cli("score", model, stdin="emma\n\nann\n").stdout == scored
    assert "BOS" in scored
    assert scored.count("the whole document: probability") == 2
    shown = cli("info", model).stdout
    assert "4,192" in shown
    assert LETTERS in shown
    assert "layer0.mlp_fc2" in shown
    assert cli("engines").stdout.startswith("scalar") or "scalar" in cli("engines").stdout


def test_names_that_are_new(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text("emma\nava\nann\nmia\n")
    trained = microgpt.train(tmp_path / "known.txt", steps=200, engine="scalar", lr=0.1)
    trained.model().save(tmp_path / "m")
    (tmp_path / "known.txt").rename(tmp_path / "moved.txt")
    some = cli("sample", "m", "-n", "30", "--seed", "1", "--temperature", "1").stdout.split()
    words = ["sample", "m", "-n", "9", "--seed", "1", "--temperature", "1", "--new"]
    new = cli(*words, "--data", "moved.txt").stdout.split()
    known = {"emma", "ava", "ann", "mia"}
    assert known & {*some}
    assert len(new) == 9
    assert not known & {*new}
    assert "name the data for --new with --data" in complaint(cli(*words, check=False))
    assert "add --new" in complaint(cli("sample", "m", "--data", "known.txt", check=False))


def test_names_into_a_file(cli: Command, tmp_path: Path, model: str) -> None:
    words = ["sample", model, "-n", "5", "--seed", "1"]
    assert cli(*words, "-o", "names.txt").stdout == ""
    assert (tmp_path / "names.txt").read_text() == cli(*words).stdout
    cli(*words, "--json", "-o", "names.json")
    assert json.loads((tmp_path / "names.json").read_text())["seed"] == 1
    refused = cli(*words, "-o", model, check=False)
    assert "already used" in complaint(refused)


def test_chat_takes_the_options_of_sample(cli: Command, model: str) -> None:
    words = ["--top-k", "2", "--top-p", "0.9", "--seed", "5", "-n", "3", "--temperature", "2"]
    said = cli("chat", model, *words, stdin="em\n").stdout
    assert said == cli("sample", model, *words, "--prefix", "em").stdout


def test_each_document_is_answered(cli: Command, model: str) -> None:
    done = cli("score", model, stdin="emma\nEmma\n\nava\nZoë\n", check=False)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line[:1].isalpha()] == ["emma", "ava"]
    bad = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in bad] == ["line 2", "line 5"]
    assert "'E'" in bad[0]
    assert done.stdout.splitlines()[-1].startswith("2 documents, 9 tokens: 3.")
    assert "there are no documents to score" in complaint(cli("score", model, check=False))


def test_a_document_that_is_cut(cli: Command, model: str) -> None:
    shown = cli("score", model, LETTERS).stdout
    assert "its first 16 characters: probability" in shown
    assert "'qrstuvwxyz' was not read" in shown


def test_scores_in_json(cli: Command, model: str) -> None:
    answer = json.loads(cli("score", model, "--json", stdin="emma\nava\n").stdout)
    losses = [loss for document in answer["documents"] for loss in document["losses"]]
    total = answer["total"]
    assert (total["documents"], total["tokens"]) == (2, 9) == (2, len(losses))
    assert total["loss"] == pytest.approx(np.mean(losses))
    assert total["perplexity"] == pytest.approx(np.exp(np.mean(losses)))
    assert [document["text"] for document in answer["documents"]] == ["emma", "ava"]
