"""A model as an ONNX file: the twins of the bricks written down as a graph that others run."""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microgpt import files
from microgpt.engines.pytorch.bricks import forward
from microgpt.llm.architecture import Architecture

MOST = 2**31  # bytes that one such file can hold: its lengths are of 32 bits


class Graph(nn.Module):
    """Tokens (batch, length) in, logits (batch, length, vocab_size) out."""

    def __init__(self, config: Architecture, params: Mapping[str, NDArray[np.floating]]) -> None:
        super().__init__()
        self.config, self.names = config, {name: name.replace(".", "_") for name in params}
        for name, array in params.items():
            self.register_buffer(self.names[name], torch.tensor(array, dtype=torch.float32))

    def forward(self, tokens: Tensor) -> Tensor:
        buffers = dict(self.named_buffers())
        return forward(
            {name: buffers[its] for name, its in self.names.items()}, self.config, tokens
        )


def save(
    config: Architecture,
    params: Mapping[str, NDArray[np.floating]],
    path: files.PathLike,
    metadata: Mapping[str, str],
) -> None:
    """Write a model to a file, whole or not at all: float32, any batch, any length it can see.

    Raises:
        OSError: it cannot be written.
        ValueError: what writes it is not installed, or the model is too large for one file.
    """
    if not find_spec("onnxscript"):
        raise ValueError("ONNX takes the library onnxscript; pip install 'microgpt-lab[onnx]'")
    if 4 * config.n_params >= MOST:
        raise ValueError(
            f"{config.n_params:,} parameters take {4 * config.n_params / 1e9:.1f} GB as float32; "
            "an ONNX file holds 2"
        )
    for talks in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"):
        logging.getLogger(talks).setLevel(logging.ERROR)
    length = min(2, config.block_size)  # 1 would be taken for a length that never changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of its own parts
        program = torch.onnx.export(
            Graph(config, params).eval(),
            (torch.zeros(2, length, dtype=torch.long),),
            input_names=["tokens"],
            output_names=["logits"],
            dynamic_shapes={"tokens": {0: "batch", 1: "length"}},
            dynamo=True,
            verbose=False,
        )
    assert program
    program.model.metadata_props.update(metadata)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "model.onnx"
        program.save(beside, external_data=False)
        files.write(path, beside.read_bytes())
