"""Where a tuned model comes from, read from its record: the model before it, and all it learned."""

from typing import Any

from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.dataset import UNNAMED, Dataset, Split, parts
from microgpt.feed import Pretraining
from microgpt.rewards import Reward, parse
from microgpt.tuning.completions import MARK, grow
from microgpt.tuning.feeds import FineTuning, Preferences, Reinforcement, Rejection, Tuning
from microgpt.tuning.reference import Reference, fingerprint

TUNED = ("fine-tuning", "reinforcement", "rejection", "preferences")


def kind(checkpoint: Checkpoint) -> str:
    """Return how a model learned last: "pretraining", one of TUNED, or "" if nobody knows."""
    feed = checkpoint.training.get("feed")
    return str(feed.get("kind", "")) if isinstance(feed, dict) else ""


def before(checkpoint: Checkpoint) -> Checkpoint:
    """Return the model that a tuned model began as, with the rows of the characters it learned.

    Raises:
        OSError: it is not where it was.
        ValueError: the record names none, or another model is there now.
    """
    record = checkpoint.training.get("feed")
    if kind(checkpoint) not in TUNED or not isinstance(record, dict):
        raise ValueError("its record names no model that it began as; name one: --against BASE")
    path = record.get("model")
    if not isinstance(path, str):
        raise ValueError("its record does not say which model it began as")
    model = grow(Checkpoint.load(path), checkpoint.characters)
    if model.vocabulary != checkpoint.vocabulary:
        raise ValueError(f"{path} has another vocabulary than the model that was tuned")
    if fingerprint(model) != record.get("model_sha256"):
        raise ValueError(f"{path} is not the model that was tuned: its parameters differ")
    return model


def lists(checkpoint: Checkpoint) -> list[tuple[Dataset, float]]:
    """Return the lists that a model learned from, the last one first, and the share held out.

    Raises:
        OSError: a list, or a model on the way, is not where it was.
        ValueError: a record does not say where the documents are, or they have changed.
    """
    record = checkpoint.training.get("feed", {})
    if kind(checkpoint) not in TUNED:
        return [(Pretraining.of(checkpoint).dataset, float(record["val"]))]
    own = []
    if kind(checkpoint) == "fine-tuning":
        own = [(_data(record, "data", "sha256"), float(record["val"]))]
    return own + lists(before(checkpoint))


def learned(checkpoint: Checkpoint) -> dict[str, Split]:
    """Return what a model learned of each list, and what was held out; raises as lists does."""
    return {data.name: parts(data, fraction) for data, fraction in lists(checkpoint)}


def texts(found: dict[str, Split]) -> set[str]:
    """Return all documents of lists, as a model writes them: without the mark after a prompt."""
    lists = (part for each in found.values() for part in (each.train, each.val, each.test))
    return {document.replace(MARK, "", 1) for part in lists for document in part}


def reward(checkpoint: Checkpoint, name: str) -> Reward:
    """Return the reward of a name; documents that the model learned from are not novel to it.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no such reward, or where novelty counts, the documents are not known.
    """
    try:
        known = texts(learned(checkpoint))
    except (OSError, ValueError):
        if name == "novel" or name.endswith(".toml"):
            raise
        known = set()
    size = checkpoint.config.block_size
    return parse(name, {text[:size] for text in known})


def feed(checkpoint: Checkpoint) -> Tuning:
    """Return the feed of a run that was interrupted, made again from its record.

    Raises:
        OSError: the model, the documents or the reward are not where they were.
        ValueError: they are not what they were, or the record makes no sense.
    """
    try:
        record: dict[str, Any] = checkpoint.training["feed"]
        engine, options = checkpoint.training["engine"], checkpoint.training["options"]
        model = before(checkpoint)
        reference = Reference(record["model"], model, engine, options)
        batch, seed = record["batch"], record["seed"]
        if kind(checkpoint) == "fine-tuning":
            data = _data(record, "data", "sha256")
            old = _data(record, "old", "old_sha256") if "old" in record else None
            replay = record["replay"], old, record.get("old_val", 0.0)
            return FineTuning(data, reference, batch, record["val"], seed, *replay)
        if kind(checkpoint) == "preferences":
            return Preferences(
                reference, _data(record, "data", "sha256"), record["beta"], batch, seed
            )
        name = record["reward"]
        asked = _data(record, "prompts", "prompts_sha256") if record["prompts"] else None
        return (Rejection if kind(checkpoint) == "rejection" else Reinforcement)(
            reference,
            reward(model, name),
            name,
            record["beta"],
            batch,
            asked,
            record["group"],
            record["val"],
            seed,
            record["ended"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its record does not say how it learned: {error!r}") from None


def _data(record: dict[str, Any], place: str, sha256: str) -> Dataset:
    if record[place] in UNNAMED:
        raise ValueError(f"its documents came from {record[place]}; they are not kept")
    data = dataset.load(record[place])
    if data.sha256 != record[sha256]:
        raise ValueError(f"{data.name} is not what the run began with: its sha256 differs")
    return data
