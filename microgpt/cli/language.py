"""What published models do, from folders and GGUF files: the other half of cli/model.py."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from microgpt import files
from microgpt.cli.terminal import note, say, tell, visible
from microgpt.language import LanguageModel, Message
from microgpt.llm import pretrained
from microgpt.model import Score
from microgpt.sampling import Sampling, Stream, fresh_seed


def opened(path: str, engine: str | None, own: dict[str, str]) -> LanguageModel:
    """Return the model in a folder or a file, having said that it takes a while."""
    if sys.stderr.isatty():
        note(f"loading {path}")
    return LanguageModel(pretrained.load(path), engine, own)


def sample(
    model: LanguageModel, most: int, prefix: str, count: int, seed: int, **given: Any
) -> Iterator[Iterator[str]]:
    """Yield texts that begin with a prefix, each piece by piece."""
    sampling, tokens = Sampling(**given), model.tokens(prefix)
    for i in range(count):
        yield _going_on(model, tokens, prefix, most, sampling, Stream(seed, i))


def _going_on(
    model: LanguageModel,
    tokens: list[int],
    prefix: str,
    most: int,
    sampling: Sampling,
    rng: Stream,
) -> Iterator[str]:
    """Yield a prefix and what follows, having shown how the tokens are read."""
    with _reading() as watch:
        pieces = model.generate(tokens, most, sampling, rng, watch)
        first = next(pieces, "")
    yield prefix + first
    yield from pieces


def write(
    texts: Iterable[Iterable[str]], given: dict[str, Any], out: str | None, as_json: bool
) -> None:
    """Write texts to a file, as one JSON object, or to the terminal as they come."""
    if not out and not as_json:
        for pieces in texts:
            tell(pieces)
        return
    documents = ["".join(pieces) for pieces in texts]
    made = json.dumps(given | {"documents": documents}, ensure_ascii=False) if as_json else None
    text = made or "\n".join(documents)
    if out:
        return files.write(out, f"{text}\n")
    say(text)


def chat(model: LanguageModel, most: int, count: int, seed: int | None, **given: Any) -> None:
    """Answer what is typed, or where the model has no template for that, go on with it."""
    sampling, messages = Sampling(**given), list[Message]()
    rng = Stream(fresh_seed() if seed is None else seed, 0)
    while True:
        try:
            typed = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            asked = [*messages, {"role": "user", "content": typed}]
            tokens = model.conversation(asked) if model.converses else model.tokens(typed)
            prefix = "" if model.converses else typed
            answer = tell(_going_on(model, tokens, prefix, most, sampling, rng))
            messages = [*asked, {"role": "assistant", "content": answer}]
        except ValueError as error:  # a text that is too long does not end the conversation
            note(str(error))


def print_score(scored: Score) -> None:
    """Print a text's score, token by token."""
    shown = [f"|{visible(token)}|" for token in scored.tokens]
    width = max(map(len, ["token", *shown])) + 2
    say(scored.text)
    say(f"  {'token':{width}}probability    nats  uniform")
    for token, loss in zip(shown, scored.losses, strict=True):
        say(f"  {token:{width}}{math.exp(-loss):11.4%}{loss:8.4f}{scored.uniform:9.4f}")
    say(f"  {'mean':{width}}{'':11}{scored.loss:8.4f}{scored.uniform:9.4f}")
    say(f"  perplexity {math.exp(scored.loss):.2f}: the first token is not counted")
    say("")


def inspect(model: LanguageModel, text: str, as_json: bool) -> None:
    """Print what each layer would say next, and where each of its heads looks most."""
    seen = model.inspect(text)
    tokens = [f"|{visible(token)}|" for token in seen["tokens"]]
    if as_json:
        return say(
            json.dumps({k: np.asarray(v).tolist() for k, v in seen.items()}, ensure_ascii=False)
        )
    say(f"tokens: {' '.join(tokens)}")
    say("what each layer would say next, if it were the last (the logit lens):")
    for layer, (texts, probs) in enumerate(zip(seen["lens"], seen["lens_probs"], strict=True)):
        said = zip(texts[-1][:3], probs[-1], strict=False)
        shown = "  ".join(f"{f'|{visible(str(t))[:12]}|':15}{p:6.1%}" for t, p in said)
        say(f"{layer:5}  {shown}")
    say(f"what the heads of each layer look at most, from {tokens[-1]}:")
    for layer, heads in enumerate(seen["attention"]):
        share = heads[:, -1].mean(axis=0)  # over the heads
        best = np.argsort(-share, kind="stable")[:3]
        say(f"{layer + 1:5}  " + "  ".join(f"{tokens[i][:15]:15}{share[i]:6.1%}" for i in best))


def info(path: str) -> None:
    """Show a published model's architecture and parameters."""
    found = pretrained.architecture(path)
    for field in fields(found):
        say(f"{field.name:18}{_shown(getattr(found, field.name))}")
    say(f"{'parameters':18}{found.n_params:,}")
    for name, shape in found.shapes():
        if name.startswith("layer0.") or not name.startswith("layer"):
            say(f"  {name:24}{' x '.join(map(str, shape)):>16}{math.prod(shape):>14,}")
    if found.n_layer > 1:
        say(f"  and so on in {found.n_layer} layers")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return (
            "each layer all"
            if not value
            else ", ".join("all" if w is None else str(w) for w in value)
        )
    return json.dumps(asdict(value)) if hasattr(value, "__dataclass_fields__") else str(value)


@contextmanager
def _reading() -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how much of a text is read, where somebody looks."""
    text = TextColumn("reading token {task.completed} of {task.total}")
    console = Console(stderr=True)
    with Progress(
        text, BarColumn(), TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as live:  # fmt: skip
        task = live.add_task("")
        yield lambda done, total: live.update(task, completed=done, total=total)


def refuse_what_is_for_names(new: bool, data: str | None) -> None:
    """Refuse the options of sample that a published model has no list of names for."""
    if new or data:
        raise click.UsageError("--new and --data are for models that learned from a list of names")
