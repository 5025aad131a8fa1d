"""Many processes that train one model, by PyTorch's own parts: torchrun, DDP or FSDP2, DCP.

torchrun starts the same program in every process. All of them take the same batch of documents;
each computes the gradient of its share, and DDP adds the shares up. FSDP2 also splits parameters
and optimizer, so that a model may be larger than one process holds. A checkpoint is a folder:
every process writes its part of the tensors there, as safetensors; any number of processes read it.
"""

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.fsdp import fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from microgpt import files
from microgpt.checkpoint import Checkpoint, parse
from microgpt.documents import Batch, Weights
from microgpt.engines.base import PeerLost, process

HEAD, PARTS = "run.json", ("", "adam.m.", "adam.v.")
PATIENCE = timedelta(minutes=2)  # for a process that does not come, or does not answer


def join(device: torch.device) -> None:
    """Meet the other processes; once for each process.

    Raises:
        PeerLost: they did not all come.
    """
    if dist.is_initialized():
        return
    with peers():
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        # torchrun keeps the store when it starts all again; in it are the addresses of the dead
        store = PrefixStore(f"start-{process().restarts}", store)
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cuda:nccl,cpu:gloo"  # what processes agree on is not on a GPU
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def agree_on(settings: Any) -> None:
    """Raise ValueError unless every process has the same settings."""
    everyone: list[Any] = [None] * process().size
    with peers():
        dist.all_gather_object(everyone, settings)
    for rank, theirs in enumerate(everyone):
        if theirs != everyone[0]:
            raise ValueError(
                f"process {rank} has other settings than process 0: {theirs}, not {everyone[0]}; "
                "start all of them with the same command"
            )


def spread(model: nn.Module, device: torch.device, sharded: bool) -> nn.Module:
    """Return the model as all processes train it: copies of it, or shards."""
    with peers():
        if not sharded:
            return DistributedDataParallel(model)
        mesh = init_device_mesh(device.type, (process().size,))
        for layer in model.children():
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model


def share(batch: Batch, weights: Weights) -> tuple[Batch, Weights]:
    """Return this process's share of a batch: as many documents as that of every other one.

    Where the documents do not suffice for all, one of weight 0 fills the share.
    """
    rank, count, _ = process()
    documents, rows = [*batch[rank::count]], [*weights[rank::count]]
    if len(documents) < -(-len(batch) // count):
        documents.append(batch[0])
        rows.append([0.0] * len(weights[0]))
    return documents, rows


def total(part: Tensor) -> Tensor:
    """Return the sum of what each process has."""
    if process().size > 1:
        part = part.clone()
        with peers():
            dist.all_reduce(part)
    return part


def any_of(flags: Sequence[bool]) -> list[bool]:
    """Return, for each of some flags, whether any process has raised it."""
    raised = torch.tensor([float(flag) for flag in flags])
    return [bool(flag) for flag in total(raised).tolist()]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that this process may hold a shard of; all processes must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(numbers: Tensor, other: Tensor) -> Tensor:
    """Return numbers as the other tensor has them: this process's shard, or all."""
    if isinstance(other, DTensor):
        return distribute_tensor(numbers, other.device_mesh, other.placements)
    return numbers


def save(folder: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a folder, each process what it holds; then drop what it held before."""
    folder.mkdir(exist_ok=True)
    place = [str(files.unused(folder / f"step-{int(tensors['adam.t'])}"))]
    with peers():
        dist.broadcast_object_list(place)  # process 0 saw what is free
        parts = Path(place[0])
        writer = HuggingFaceStorageWriter(str(parts), save_distributed=True)
        save_tensors(dict(tensors), storage_writer=writer)
    if process().rank == 0:
        files.write(folder / HEAD, json.dumps({**metadata, "parts": parts.name}))
        for other in folder.glob("step-*"):
            if other != parts:
                shutil.rmtree(other)


def load(folder: str) -> Checkpoint:
    """Read a run from a folder, whole, however many processes wrote it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a run's folder, or its parts disagree.
    """
    head = Path(folder, HEAD).read_text("utf-8")
    try:
        metadata = json.loads(head)
        config, vocabulary, training = parse(metadata)
        parts = Path(folder, Path(metadata["parts"]).name)
        shapes: dict[str, tuple[int, ...]] = {
            prefix + name: shape for prefix in PARTS for name, shape in config.shapes()
        }
        tensors = {
            name: torch.empty(shape, dtype=torch.float64) for name, shape in shapes.items()
        } | {"adam.t": torch.empty(())}
        with warnings.catch_warnings():  # that it loads in one process, as it was asked to
            warnings.simplefilter("ignore", UserWarning)
            reader = HuggingFaceStorageReader(str(parts))
            load_tensors(tensors, storage_reader=reader, no_dist=True)
        state = {name: tensor.numpy() for name, tensor in tensors.items()}
        return Checkpoint(config, vocabulary, state, training)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        OSError,
        RecursionError,
        CheckpointException,
    ) as error:
        raise ValueError(f"{folder} is not a run that microgpt can use: {error}") from None


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Say in one line that a process is gone, whichever part of PyTorch found out."""
    try:
        yield
    except RuntimeError:
        if process().size == 1:
            raise
        raise PeerLost("another process of this run is gone, or does not answer") from None
