"""The engines: parallel ways to run one model, behind the protocol of base.py."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple

from microgpt.arrays import BROWSER, State
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import Engine, Learner, Reader, TrainableEngine
from microgpt.files import PathLike
from microgpt.llm.architecture import Architecture


class Entry(NamedTuple):
    """Where an engine is, and what it is."""

    module: str
    class_name: str
    what: str
    trains: bool = True


ENGINES = {  # the default is the first that is there
    "native": Entry("native", "NativeEngine", "C, as wide as the vectors of the processor"),
    "scalar": Entry("scalar", "ScalarEngine", "gpt.py itself, one Python number at a time"),
    "pytorch": Entry("pytorch", "PyTorchEngine", "PyTorch's tensors, on a CPU or a GPU"),
    "fixed": Entry(
        "fixed",
        "FixedEngine",
        "the classic cartridge's integers; runs models, cannot train them",
        trains=False,
    ),
    "snes": Entry(
        "snes",
        "SnesEngine",
        "a Super Nintendo in an emulator; runs models, cannot train",
        trains=False,
    ),
}
if BROWSER:  # Python itself is in WebAssembly there, and so is the C beside it
    what = "C in WebAssembly, where Python itself runs in a browser"
    ENGINES = {"wasm": Entry("wasm", "WasmEngine", what), **ENGINES}

READERS = {  # of any architecture; the default is the first that is there
    "pytorch": Entry("pytorch", "PyTorchBricksEngine", "the bricks as PyTorch's tensors", False),
    "scalar": Entry("bricks", "BricksEngine", "the bricks, one Python number at a time", False),
}


def create(
    name: str, config: GPTConfig, state: State, optimizer: Adam | None = None, **options: Any
) -> Engine:
    """Return the engine of that name, holding a state; options are the engine's own.

    Raises:
        ValueError: there is no such engine, it is not installed, or it cannot hold this model.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")
    if reason := missing(name):
        raise ValueError(f"the engine {name} is not here: {reason}")
    _check_options(name, list(signature(_class(name)).parameters)[3:], options)
    try:
        engine: Engine = _class(name)(config, state, optimizer or Adam(), **options)
    except (OSError, ImportError) as error:
        raise ValueError(f"the engine {name} cannot start: {error}") from None
    return engine


def create_reader(
    name: str | None, architecture: Architecture, params: State, **options: Any
) -> Reader:
    """Return the engine of that name, or the best there is, for a model of any architecture.

    Raises:
        ValueError: there is no such engine, it is not installed, or cannot hold this model.
    """
    name = name or next(each for each in READERS if not missing(each))
    if name not in READERS:
        raise ValueError(
            f"the engine {name} runs gpt.py's model alone; for this one take {', '.join(READERS)}"
        )
    if reason := missing(name):
        raise ValueError(f"the engine {name} is not here: {reason}")
    module = import_module(f"microgpt.engines.{READERS[name].module}")
    made = getattr(module, READERS[name].class_name)
    _check_options(name, list(signature(made).parameters)[2:], options)
    engine: Reader = made(architecture, params, **options)
    return engine


def create_learner(name: str, architecture: Architecture, params: State, **options: Any) -> Learner:
    """Return an engine that trains any architecture; raises as create_reader does."""
    engine = create_reader(name, architecture, params, **options)
    if not isinstance(engine, Learner):
        raise ValueError(f"the engine {name} runs such a model but cannot train it; take pytorch")
    return engine


def _check_options(name: str, known: Sequence[str], options: Mapping[str, Any]) -> None:
    if unknown := [option for option in options if option not in known]:
        raise ValueError(
            f"the engine {name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}"
        )


def create_trainable(
    name: str, config: GPTConfig, state: State, optimizer: Adam | None = None, **options: Any
) -> TrainableEngine:
    """Return an engine that can train; raises as create does, and for one that cannot."""
    engine = create(name, config, state, optimizer, **options)
    if not isinstance(engine, TrainableEngine):
        raise ValueError(f"the engine {name} runs models but cannot train them")
    return engine


def missing(name: str) -> str | None:
    """Return why an engine is not there and how to get it; None where it is there.

    An engine that needs more than its own import says so itself, in a function `missing`.
    """
    try:
        module = import_module(f"microgpt.engines.{ENGINES[name].module}")
    except ImportError as error:
        return str(error)
    reason: str | None = module.missing() if hasattr(module, "missing") else None
    return reason


def about(name: str) -> str:
    """Return what an engine is, or why it is not there; an engine may say more about itself."""
    if reason := missing(name):
        return f"missing: {reason}"
    what = getattr(import_module(f"microgpt.engines.{ENGINES[name].module}"), "about", None)
    return str(what()) if what else ENGINES[name].what


def present() -> list[str]:
    """Return the names of the engines that are there, the best first."""
    return [name for name in ENGINES if not missing(name)]


def trainable() -> list[str]:
    """Return the names of those that are there and can train."""
    return [name for name in present() if ENGINES[name].trains]


def default() -> str:
    """Return the name of the best engine that is there."""
    return next(name for name in ENGINES if not missing(name))


def gather(folder: str) -> Checkpoint:
    """Return the run that many processes saved in a folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not the folder of a run, or what reads it is not installed.
    """
    if reason := missing("pytorch"):
        raise ValueError(f"{folder} is a folder: {reason}")
    checkpoint: Checkpoint = import_module("microgpt.engines.pytorch.distributed").load(folder)
    return checkpoint


def write_onnx(
    architecture: Architecture, params: State, path: PathLike, metadata: Mapping[str, str]
) -> None:
    """Write a model of any architecture as an ONNX file: tokens in, logits out.

    Raises:
        OSError: it cannot be written.
        ValueError: what writes it is not installed, or the model is too large for one file.
    """
    if reason := missing("pytorch"):
        raise ValueError(f"ONNX is written by PyTorch: {reason}")
    module = import_module("microgpt.engines.pytorch.onnx_files")
    module.save(architecture, params, path, metadata)


def _class(name: str) -> Any:
    entry = ENGINES[name]
    return getattr(import_module(f"microgpt.engines.{entry.module}"), entry.class_name)
