"""What a trained model does: microgpt sample, chat, score and info."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from microgpt import checkpoint, dataset, engines, files, sampling
from microgpt.cli import language, options
from microgpt.cli.commands import group
from microgpt.cli.terminal import lines, note, say, tell, visible
from microgpt.llm import export as stock
from microgpt.llm import pretrained
from microgpt.llm.architecture import Architecture
from microgpt.model import Model, Score, Total
from microgpt.tuning import lineage


@group.command()
@options.model
@options.sampling(20)
@click.option("--prefix", metavar="TEXT", help="What each name begins with.")
@click.option("--new", is_flag=True, help="Only names that are not in the data.")
@options.data("Which data, for --new.", default="what the model learned from")
@options.engine
@options.dtype
@options.device
@options.tokens
@options.out("Write them to a file.")
@click.option("--json", "as_json", is_flag=True, help="Give one JSON object.")
@click.pass_context
def sample(
    context: click.Context,
    /,
    model: str,
    tokens: int,
    new: bool,
    data: str | None,
    engine: str | None,
    dtype: str | None,
    device: str | None,
    out: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Invent new names, a line each.

    MODEL is a file that train wrote. A model of running text, or a published one (a folder of
    Hugging Face, a GGUF file), goes on with --prefix, once unless -n says otherwise.
    """
    own = options.of_engine(dtype=dtype, device=device)
    if data and not new:
        raise click.UsageError("--data is what --new compares with; add --new")
    if out:
        files.target(out, [model, *filter(None, [data])])
    unseeded = given["seed"] is None
    if unseeded:
        given["seed"] = sampling.fresh_seed()
    given["prefix"] = given["prefix"] or ""
    published = pretrained.is_one(model)
    loaded = language.opened(model, engine, own) if published else Model.load(model, engine, own)
    if not isinstance(loaded, Model) or loaded.endless:
        language.refuse_what_is_for_names(new, data)
        if context.get_parameter_source("count") is ParameterSource.DEFAULT:
            given["count"] = 1
        texts = (
            _running(loaded, tokens, **given)
            if isinstance(loaded, Model)
            else language.sample(loaded, tokens, **given)
        )
        if unseeded and not as_json:
            note(f"--seed {given['seed']}")
        return language.write(texts, given | {"tokens": tokens}, out, as_json)
    names = loaded.sample(**given, exclude=_known(loaded, data) if new else ())
    if unseeded and not as_json:
        note(f"--seed {given['seed']}")
    made = [json.dumps(given | {"documents": names}, ensure_ascii=False)] if as_json else names
    if out:
        return files.write(out, "".join(f"{line}\n" for line in made))
    for line in made:
        say(line)


def _running(
    model: Model, tokens: int, prefix: str, count: int, seed: int, **given: Any
) -> Iterator[Iterator[str]]:
    """Yield running texts, each in one piece."""
    for i in range(count):
        yield iter([model.write(tokens, sampling.Sampling(**given), seed, i, prefix)])


def _known(model: Model, data: str | None) -> set[str]:
    """Return the documents that are not new to a model."""
    if data:
        return model.truncate(dataset.load(data).documents)
    try:
        return model.truncate(lineage.texts(lineage.learned(model.checkpoint)))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"name the data for --new with --data: {error}") from None


@group.command()
@options.model
@options.sampling(1)
@options.tokens
@options.engine
@options.dtype
@options.device
def chat(
    model: str,
    tokens: int,
    engine: str | None,
    dtype: str | None,
    device: str | None,
    **given: Any,
) -> None:
    """Complete what you type, line after line; Ctrl-D ends it.

    A published model (a folder of Hugging Face, a GGUF file) that was taught to converse answers.
    """
    own = options.of_engine(dtype=dtype, device=device)
    if pretrained.is_one(model):
        return language.chat(language.opened(model, engine, own), tokens, **given)
    loaded = Model.load(model, engine, own)
    sampling.Sampling(given["temperature"], given["top_k"], given["top_p"])
    endless = {"seed": sampling.fresh_seed()} | {k: v for k, v in given.items() if v is not None}
    while True:
        try:
            prefix = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            if loaded.endless:
                for pieces in _running(loaded, tokens, prefix=prefix, **endless):
                    tell(pieces)
                continue
            for name in loaded.sample(**given, prefix=prefix):
                say(name, flush=True)
        except ValueError as error:  # a slip of the fingers does not end the conversation
            note(str(error))


@group.command()
@options.model
@click.argument("text", nargs=-1)
@options.engine
@options.dtype
@options.device
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def score(
    model: str,
    text: tuple[str, ...],
    engine: str | None,
    dtype: str | None,
    device: str | None,
    as_json: bool,
) -> int:
    """Tell how likely documents are, token by token (nats).

    Reads them from the command line, else from standard input, one a line. Of several it gives the
    mean over all tokens and the perplexity, too.
    """
    own = options.of_engine(dtype=dtype, device=device)
    loaded = (language.opened if pretrained.is_one(model) else Model.load)(model, engine, own)
    scores, refused = [], 0
    for where, document in _documents(text):
        try:
            scores.append(loaded.score(document))
        except ValueError as error:
            note(f"microgpt: {where}{error}")
            refused += 1
            continue
        if not as_json:
            if isinstance(loaded, Model):
                _print_score(scores[-1], loaded)
            else:
                language.print_score(scores[-1])
    if scores or not refused:
        _print_total(Total.of(scores), scores, as_json)
    return 2 if refused else 0


def _documents(text: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each document to score, after where it is: "", or "line 3: " of standard input."""
    for document in text:
        yield "", document
    if not text:
        for number, line in enumerate(lines(), 1):
            if line.strip():
                yield f"line {number}: ", line.strip()


def _print_score(scored: Score, model: Model) -> None:
    unit = model.tokenizer.unit
    bigrams: Sequence[float | None] = scored.bigram or [None] * len(scored.tokens)
    edge = "" if unit == "character" else "|"  # a token may begin with a space
    names = [f"{edge}{visible(token)}{edge}" if token else "BOS" for token in scored.tokens]
    width = max(map(len, ["token", *names]))
    say(scored.text)
    say(f"  {'token':{width}}  probability    nats  uniform  bigram")
    for name, loss, bigram in zip(names, scored.losses, bigrams, strict=True):
        shown = f"{bigram:8.4f}" if bigram is not None else "       -"
        say(f"  {name:{width}}  {math.exp(-loss):11.4%}{loss:8.4f}{scored.uniform:9.4f}{shown}")
    mean = sum(scored.bigram) / len(scored.bigram) if scored.bigram else None
    shown = f"{mean:8.4f}" if mean is not None else "       -"
    say(f"  {'mean':{width}}  {'':11}{scored.loss:8.4f}{scored.uniform:9.4f}{shown}")
    whole = scored.complete or (model.endless and not scored.cut)
    what = (
        ("the text" if model.endless else "the whole document")
        if whole
        else f"its first {len(scored.tokens)} {unit}s"
    )
    say(f"  {what}: probability {scored.probability:.3g}")
    if not whole:
        unread = f"; {scored.cut!r} was not read" if scored.cut else ""
        say(f"  the model can see {len(scored.tokens)} {unit}s and not what follows{unread}")
    say("")


def _print_total(total: Total, scores: list[Score], as_json: bool) -> None:
    if as_json:
        documents = [asdict(s) | {"loss": s.loss, "probability": s.probability} for s in scores]
        summed = asdict(total) | {"loss": total.loss, "perplexity": total.perplexity}
        say(json.dumps({"total": summed, "documents": documents}, ensure_ascii=False))
    elif total.documents > 1:
        say(
            f"{total.documents:,} documents, {total.tokens:,} tokens: {total.loss:.4f} nats/token, "
            f"perplexity {total.perplexity:.2f}"
        )


@group.command()
@options.model
def info(model: str) -> None:
    """Show a model's sizes, parameters, vocabulary and record."""
    if pretrained.is_one(model):
        return language.info(model)
    loaded = checkpoint.Checkpoint.load(model)
    for name, size in asdict(loaded.config).items():
        say(f"{name:18}{size}")
    say(f"{'parameters':18}{loaded.config.n_params:,}")
    for name, (rows, columns) in loaded.config.shapes():
        say(f"  {name:16}{rows:>5} x {columns:<5}{rows * columns:>10,}")
    known = loaded.vocabulary
    known = known if isinstance(known, str) else f"{known.bos:,} tokens of {known.name}"
    say(f"{'vocabulary':18}{known} and BOS")
    for name, value in loaded.training.items():
        if name not in ("random", "bigrams"):
            say(f"{name:18}{value if isinstance(value, str) else json.dumps(value)}")
    if "adam.t" in loaded.state:
        note("the run is not finished; --resume goes on with it")


@group.command()
@options.model
@click.argument("text")
@options.engine
@options.dtype
@options.device
@click.option("--json", "as_json", is_flag=True, help="Print all of it, as one JSON object.")
def inspect(
    model: str, text: str, engine: str | None, dtype: str | None, device: str | None, as_json: bool
) -> None:
    """Look inside a model: what each layer says and looks at.

    MODEL is a file that train wrote, a folder of Hugging Face, or a GGUF file. --json has the
    attention of every layer and head, the residual stream, the MLP's units and the probabilities.
    """
    own = options.of_engine(dtype=dtype, device=device)
    language.inspect(language.opened(model, engine, own), text, as_json)


@group.command()
@options.model
@click.option(
    "-o", "--out", metavar="FOLDER|FILE", type=options.File(), required=True, help="Write it there."
)
@click.option(
    "--to", type=click.Choice(["folder", "onnx"]), default="folder", help="What to write."
)
def export(model: str, out: str, to: str) -> None:
    """Write a model for others: a folder of Hugging Face, or ONNX.

    MODEL is a published model: a folder, or a GGUF file, whose weights become float32. A file that
    train wrote is not a stock model, which a folder must hold; the answer is what differs. Any
    model can be an ONNX file: tokens in, logits out.
    """
    if to == "onnx":
        files.target(out, [model])
        return _export_onnx(model, out)
    if not pretrained.is_one(model):
        stock.family(Architecture.of(checkpoint.Checkpoint.load(model).config))
    stock.save(pretrained.load(model), Path(out))
    say(f"{out}: a folder that transformers loads")


def _export_onnx(model: str, out: str) -> None:
    if pretrained.is_one(model):
        loaded = pretrained.load(model)
        engines.write_onnx(loaded.architecture, loaded.params, out, {})
        say(f"{out}: tokens (batch, length) to logits; the tokenizer is not in it")
        return
    ours = checkpoint.Checkpoint.load(model).model()
    said = checkpoint.metadata(ours.config, ours.vocabulary, {})
    metadata = {name: said[name] for name in ("config", "vocabulary")}  # as in the file of ours
    engines.write_onnx(Architecture.of(ours.config), ours.state, out, metadata)
    say(f"{out}: tokens (batch, length) to logits; the vocabulary is in its metadata")
