"""The tensors of a folder: safetensors files, one or many, looked at before they are read."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in a file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file

    def read(self) -> NDArray[np.floating]:
        """Return its numbers, as float64 where they are stored so, else as float32."""
        stored = DTYPES[self.dtype]
        count = int(np.prod(self.shape, dtype=np.int64))
        with open(self.path, "rb") as file:
            file.seek(self.start)
            numbers = np.fromfile(file, stored, count).reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            return (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(np.float64 if self.dtype == "F64" else np.float32, copy=False)


def tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder by name.

    Raises:
        OSError: a file cannot be read.
        ValueError: there are no safetensors, one of them is missing or broken, or holds what are
            no floating-point numbers.
    """
    if (folder / INDEX).exists():
        where = _index(folder / INDEX)
        missing = next((name for name in where.values() if not (folder / name).is_file()), None)
        if missing:
            raise ValueError(f"{folder}: the shard {missing} is missing; {INDEX} names it")
        found: dict[str, Tensor] = {}
        for name in sorted(set(where.values())):
            found |= dict(_file(folder / name))
        if lost := sorted(where.keys() - found.keys()):
            raise ValueError(f"{folder}: tensor {lost[0]} is not in {where[lost[0]]}")
        return found
    if (folder / WHOLE).exists():
        return dict(_file(folder / WHOLE))
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
    if pickles:
        raise ValueError(
            f"{folder}: {pickles[0]} is a pickle, which can run any code when it is loaded, so it "
            f"is not; convert it to {WHOLE}"
        )
    raise ValueError(f"{folder} holds no {WHOLE}")


def load_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def _index(path: Path) -> dict[str, str]:
    """Return the file of each tensor; files lie in the folder of the index, and nowhere else."""
    where = load_json(path).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{path} has no weight_map of tensors and files")
    for name in where.values():
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
            raise ValueError(f"{path} names the file {name!r}; a shard lies beside it")
    return where


def _file(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of a file; the library checks that its header is true to its size."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
        with open(path, "rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(length))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    for name in names:
        entry = header[name]
        if entry["dtype"] not in DTYPES:
            kinds = ", ".join(DTYPES)
            raise ValueError(f"{path}: tensor {name} holds {entry['dtype']}; it must be {kinds}")
        start = 8 + length + entry["data_offsets"][0]
        yield name, Tensor(path, entry["dtype"], tuple(entry["shape"]), start)
