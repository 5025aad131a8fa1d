"""What PyTorch's engines share: where their tensors are, of which type, and a batch as one."""

import os

import torch
from torch import Tensor

from microgpt.documents import Batch, Sizes
from microgpt.engines.base import process

DTYPES = {"float32": torch.float32, "float64": torch.float64}
READ = {**DTYPES, "bfloat16": torch.bfloat16}  # to run a model that others trained


def dtype(name: str, known: dict[str, torch.dtype] = DTYPES) -> torch.dtype:
    """Return the type of that name; raises ValueError for one that is not known."""
    if name not in known:
        raise ValueError(f"dtype is {name!r}; it must be one of {', '.join(known)}")
    return known[name]


def device(name: str | None) -> torch.device:
    """Return the device of that name, or the fastest there is; of many processes each has its own.

    Raises:
        ValueError: it is not here.
    """
    if name is None:
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else mps
    if name == "cuda" and process().size > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun says which of this machine
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"device is {name!r}, which is not here ({line}); try cpu") from None
    return found


def padded(config: Sizes, batch: Batch, where: torch.device) -> tuple[Tensor, Tensor]:
    """Return the tokens of documents (B, T + 1), and how many positions each has (B)."""
    cut = [[*map(int, tokens[: config.block_size + 1])] for tokens in batch]
    longest = max(map(len, cut))
    tokens = [row + [0] * (longest - len(row)) for row in cut]
    counts = [len(row) - 1 for row in cut]
    return torch.tensor(tokens, device=where), torch.tensor(counts, device=where)
