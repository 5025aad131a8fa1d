"""A model beside MicroGPT, component by component: the same, changed, or only bigger."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from microgpt.checkpoint import Checkpoint
from microgpt.llm import bricks, ledger, quantities
from microgpt.llm.architecture import Architecture
from microgpt.llm.presets import PRESETS, Published

BASIS = PRESETS["microgpt"]
UNSAID = "not recorded"
SPEED = 4e14  # FLOP/s: two fifths of what one H100 can do in bfloat16, as long runs reach


@dataclass(frozen=True)
class Change:
    """A mechanism that the heart does not have."""

    name: str
    sentence: str
    brick: str = ""  # the function of microgpt/llm/bricks.py that holds it
    lessons: tuple[int, ...] = ()  # of the school, that have it written


SAME = {
    "dataset": "Text, cut into documents; each token is the answer to those before it.",
    "tokenizer": "Text becomes whole numbers below vocab_size, a special one among them as BOS.",
    "autograd": "Every operation records its local derivatives; backward() chains them.",
    "architecture": (
        "An embedding; layers of norm, attention, residual, norm, MLP, residual; lm_head, softmax."
    ),
    "training": "Guess the next token, loss -log p, a step against the gradient.",
    "inference": "One token after another, drawn from softmax(logits / temperature), KV cache.",
}
BPE = Change(
    "byte-pair encoding",
    "Frequent neighbours among characters or bytes become one token.",
    lessons=(16,),
)
POST_TRAINING = {"SFT": 13, "distilled": 13, "RL": 14, "DPO": 15}  # word: lesson
TENSORS = Change(
    "tensors", "A node of the graph is a whole array, not a number; the chain rule is the same."
)
DECAY = Change("weight decay", "Adam's step also draws each weight a little towards 0 (AdamW).")
NO_AUTOGRAD = Change("no autograd", "The console does not learn: weights come from a trained file.")
ALSO = {
    "yarn": Change(
        "YaRN", "RoPE's turns are slowed, each pair by its speed, for a context 32 times as long."
    ),
    "clamp": Change("clamped SwiGLU", "Gate and hidden numbers are cut off beyond 7."),
    "sigmoid": Change(
        "sigmoid router", "Each expert is scored by itself; a correction keeps all of them busy."
    ),
    "banded": Change(
        "banded attention",
        "Every other layer sees a band of positions, how wide is not said.",
    ),
    "q8.8": Change("Q8.8 integers", "Every number is a 16-bit integer, in units of 1/256."),
    "5 bits": Change("5-bit weights", "A weight has one of 31 levels, an activation 6 to 8 bits."),
    "xorshift": Change("xorshift", "Tokens are drawn by a 32-bit generator of the console's own."),
}


def changes(a: Architecture) -> Iterator[Change]:
    """Yield what an architecture changes in the heart's."""
    yield from _positions(a)
    yield from _norms(a)
    yield from _attention(a)
    yield from _mlp(a)
    if a.qkv_bias or a.out_bias or a.mlp_bias:
        yield Change("biases", "Matrices add a learned number to each output.", "affine")
    if a.tied:
        yield Change("tied embeddings", "lm_head is wte itself: one table reads and writes.")


def _positions(a: Architecture) -> Iterator[Change]:
    if a.rope:
        yield Change(
            "RoPE",
            "No wpe: a position turns queries and keys, so a score depends on distance.",
            "turn",
        )
        if stretch := a.rope.stretch:
            yield Change(
                "stretched RoPE",
                f"Slow turns are slowed {stretch.factor:g} times, for a context longer than the "
                f"{stretch.original:,} of pretraining.",
                "stretch",
            )


def _norms(a: Architecture) -> Iterator[Change]:
    if a.norm == "gained rms":
        yield Change("gained RMSNorm", "Each normed number has a learned factor.", "gained_rmsnorm")
    if a.norm == "layer":
        yield Change(
            "LayerNorm", "The mean is taken off first; a learned factor and bias.", "layernorm"
        )
    if a.final_norm and not a.embedding_norm:
        yield Change("final norm", "The norm after the embeddings moved before lm_head.", "norm")
    if a.qk_norm:
        yield Change("q/k norm", "Queries and keys are normed, head by head.", "forward")


def _attention(a: Architecture) -> Iterator[Change]:
    if a.latent:
        yield Change(
            "latent attention",
            f"Keys and values of {a.n_head} heads are made from one vector of "
            f"{a.latent.kv_rank + a.latent.rope_dim}, which alone is cached.",
        )
    if a.n_kv_head < a.n_head:
        yield Change(
            "grouped queries",
            f"{a.n_head} heads of queries share {a.n_kv_head} of keys and values: "
            f"a cache {a.n_head // a.n_kv_head} times smaller.",
            "grouped_attention",
        )
    if not a.latent and a.head_dim * a.n_head != a.n_embd:
        yield Change("head_dim apart", f"{a.n_head} heads of {a.head_dim} are not n_embd wide.")
    if windows := {window for window in a.windows if window}:
        which = "Each layer sees" if all(a.windows) else "Some layers see"
        yield Change(
            "sliding window",
            f"{which} the last {min(windows):,} positions, no more.",
            "grouped_attention",
        )
    if a.sinks:
        yield Change("attention sinks", "A learned score a head takes attention, gives nothing.")


def _mlp(a: Architecture) -> Iterator[Change]:
    if a.gated:
        yield Change(
            "SwiGLU", "For ReLU: a third matrix makes a gate that says how much passes.", "mlp"
        )
    elif a.activation == "gelu":
        yield Change("GELU", "ReLU with its corner rounded.", "gelu")
    if experts := a.experts:
        shared = f", and {experts.n_shared} that all pass" if experts.n_shared else ""
        yield Change(
            "mixture of experts",
            f"A router sends each token to {experts.n_used} of {experts.n_expert} MLPs{shared}.",
            "experts",
        )


def changed(published: Published) -> dict[str, list[Change]]:
    """Return what a model changes, by component."""
    also = [ALSO[name] for name in published.also]
    drawn = [change for change in also if change.name == "xorshift"]
    optimizer = published.optimizer or ""
    training = [DECAY] if optimizer.endswith("W") or "weight decay" in optimizer else []
    if published.post_training not in ("none", UNSAID):
        did = published.post_training
        taught = {lesson for word, lesson in POST_TRAINING.items() if word in did}
        sentence = f"{did}. Here: microgpt tune."
        training.append(Change("post-training", sentence, lessons=(*sorted(taught),)))
    return {
        "dataset": [],
        "tokenizer": [] if published.tokenizer == BASIS.tokenizer else [BPE],
        "autograd": [NO_AUTOGRAD]
        if drawn
        else [TENSORS]
        if published.arithmetic == "tensors"
        else [],
        "architecture": [*changes(published.architecture), *(c for c in also if c not in drawn)],
        "training": training,
        "inference": drawn,
    }


def _training_flops(published: Published) -> float:
    architecture = published.architecture
    return ledger.training_flops(architecture, published.context or architecture.block_size)


def _run_flops(published: Published) -> float | None:
    return published.tokens and published.tokens * _training_flops(published)


def _seconds(published: Published) -> float | None:
    return published.processor_hours and 3600 * published.processor_hours


def _forward_flops(published: Published) -> float:
    return ledger.forward_flops(published.architecture, 1)


def _cache_bytes(published: Published) -> int:
    return ledger.cache_bytes(published.architecture, 1)


def _hidden(architecture: Architecture) -> int:
    experts = architecture.experts
    return experts.n_hidden if experts else architecture.n_hidden


def _exact(number: float) -> str:
    return f"{number:,}"


# What may be bigger: component, name, a model's number where it is known, and how it is written.
Size = Callable[[Published], float | None]
BIGGER: list[tuple[str, str, Size, Callable[[float], str]]] = [
    ("dataset", "tokens read", lambda p: p.tokens, quantities.count),
    ("tokenizer", "vocab_size", lambda p: p.architecture.vocab_size, _exact),
    ("autograd", "FLOPs to learn a token", _training_flops, quantities.count),
    ("architecture", "parameters", lambda p: p.architecture.n_params, _exact),
    ("architecture", "n_layer", lambda p: p.architecture.n_layer, _exact),
    ("architecture", "n_embd", lambda p: p.architecture.n_embd, _exact),
    ("architecture", "n_head", lambda p: p.architecture.n_head, _exact),
    ("architecture", "head_dim", lambda p: p.architecture.head_dim, _exact),
    ("architecture", "n_hidden", lambda p: _hidden(p.architecture), _exact),
    ("architecture", "block_size", lambda p: p.architecture.block_size, _exact),
    ("training", "FLOPs of the run", _run_flops, quantities.count),
    ("training", "time on one processor", _seconds, quantities.duration),
    ("inference", "FLOPs a token", _forward_flops, quantities.count),
    ("inference", "KV cache a token", _cache_bytes, quantities.size),
]


def _bigger(component: str, published: Published) -> Iterator[dict[str, Any]]:
    for where, name, size, text in BIGGER:
        ours, theirs = size(BASIS), size(published)
        if where == component and ours and theirs and ours != theirs:
            text_of_both = f"{text(ours)} → {text(theirs)}"
            yield {"name": name, "microgpt": ours, "model": theirs, "text": text_of_both}


def _first_size(component: str, published: Published) -> dict[str, Any]:
    """Return the number that tells most of how big a component is."""
    name, size, text = next(row[1:] for row in BIGGER if row[0] == component)
    value = size(published)
    shown = _unknown(published) if value is None else text(value)
    return {"name": name, "value": value, "text": shown}


def components(published: Published) -> list[dict[str, Any]]:
    """Return the six components: what is the same, changed, and only bigger than MicroGPT's."""
    found = changed(published)
    return [
        {
            "component": component,
            "same": sentence,
            "changed": [
                vars(change) | {"lessons": [*change.lessons]} for change in found[component]
            ],
            "bigger": list(_bigger(component, published)),
            "size": _first_size(component, published),
        }
        for component, sentence in SAME.items()
    ]


def of_checkpoint(checkpoint: Checkpoint, title: str) -> Published:
    """Return what a file of ours records of its model, as what others publish of theirs."""
    record = checkpoint.training
    feed, steps = record.get("feed"), record.get("step")
    data = UNSAID
    if isinstance(feed, dict) and isinstance(steps, int) and isinstance(feed.get("batch"), int):
        data = f"{steps * feed['batch']:,} documents of {feed.get('data')}"
    return Published(
        title,
        None,
        Architecture.of(checkpoint.config),
        source=title,
        data=data,
        post_training="none",
        tokenizer=BASIS.tokenizer,
        optimizer=BASIS.optimizer,
        arithmetic=f"engine {record['engine']}" if "engine" in record else BASIS.arithmetic,
    )


def of_architecture(architecture: Architecture, title: str) -> Published:
    """Return what is known of a model whose files tell its sizes alone."""
    return Published(
        title,
        None,
        architecture,
        source=title,
        data=UNSAID,
        post_training=UNSAID,
        tokenizer="subwords",
    )


def _unknown(published: Published) -> str:
    return "not published" if published.year else UNSAID


def overview(published: Published) -> dict[str, str]:
    """Return the first look: what a model is in seven rows."""
    a, active = published.architecture, ledger.active(published.architecture)
    read = quantities.count(published.tokens) if published.tokens else _unknown(published)
    return {
        "data": f"{published.data}; tokens read: {read}",
        "tokenizer": f"{a.vocab_size:,} tokens: {published.tokenizer}",
        "compute": _compute(published),
        "parameters": f"{a.n_params:,}" + (f" ({active:,} active)" if active < a.n_params else ""),
        "layers": f"{a.n_layer}",
        "training time": _time(published),
        "post-training": published.post_training,
    }


def _compute(published: Published) -> str:
    if not published.processor:
        return published.arithmetic
    many, one = published.processors, published.processor
    what = "" if many is None else "one " if many == 1 else f"{many:,} "
    return f"{published.arithmetic} on {what}{one}" + ("" if many == 1 else "s")


def _time(published: Published) -> str:
    hours, many = published.processor_hours, published.processors
    if hours is None:
        return _unknown(published)
    spent = f"{quantities.count(hours)} {published.processor} hours"
    if many is None:
        return spent
    length = f"about {quantities.duration(3600 * hours / many)}"
    return length if many == 1 else f"{length}: {spent}"


def costs(published: Published, speed: float = SPEED) -> list[dict[str, Any]]:
    """Return what a model costs: rows of a name, a number or None, and the number as text.

    Args:
        speed: FLOP/s that a training run keeps up.
    """
    a = published.architecture
    context = published.context or a.block_size
    chinchilla, read = ledger.chinchilla_tokens(a), published.tokens
    flop, size, time = quantities.count, quantities.size, quantities.duration

    def seconds(tokens: float | None, speed: float) -> float | None:
        return None if tokens is None else ledger.training_seconds(a, tokens, context, speed)

    rows: list[tuple[str, float | None, Callable[[float], str]]] = [
        ("FLOPs of the first token", ledger.forward_flops(a, 1), flop),
        ("FLOPs of the last token", ledger.forward_flops(a, a.block_size), flop),
        ("FLOPs to learn a token", ledger.training_flops(a, context), flop),
        *((f"weights in {name}", number, size) for name, number in ledger.weight_bytes(a).items()),
        ("KV cache a token", ledger.cache_bytes(a, 1), size),
        ("KV cache, all positions", ledger.cache_bytes(a, a.block_size), size),
        ("memory of Adam", ledger.adam_bytes(a), size),
        ("tokens read", read, quantities.count),
        ("tokens by Chinchilla", chinchilla, quantities.count),
        (f"time at {_plain(speed)} FLOP/s", seconds(read, speed), time),
        ("time by Chinchilla", seconds(chinchilla, speed), time),
        ("time at gpt.py's speed", seconds(read, gpt_speed()), time),
    ]
    return [
        {
            "name": name,
            "value": value,
            "text": _unknown(published) if value is None else text(value),
        }
        for name, value, text in rows
    ]


def _plain(speed: float) -> str:
    return f"{speed:.3g}".replace("e+0", "e").replace("e+", "e")


def gpt_speed() -> float:
    """Return the FLOP/s of gpt.py: its tokens in about a minute, as its preset says."""
    assert BASIS.tokens
    assert BASIS.processor_hours
    return BASIS.tokens * _training_flops(BASIS) / (3600 * BASIS.processor_hours)


def entry(name: str, published: Published, speed: float = SPEED) -> dict[str, Any]:
    """Return all there is to say of a model, as JSON data."""
    return {
        "name": name,
        "title": published.title,
        "year": published.year,
        "source": published.source,
        "overview": overview(published),
        "parameters": published.architecture.n_params,
        "active": ledger.active(published.architecture),
        "times": quantities.times(published.architecture.n_params / BASIS.architecture.n_params),
        "parts": ledger.parameters(published.architecture),
        "costs": costs(published, speed),
        "components": components(published),
    }


def code() -> dict[str, str]:
    """Return the source of each brick that a change of a published model names."""
    named = (change.brick for p in PRESETS.values() for change in changes(p.architecture))
    return {name: inspect.getsource(getattr(bricks, name)) for name in sorted({*named} - {""})}
