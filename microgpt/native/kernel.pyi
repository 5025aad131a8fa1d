"""The types of the extension module that setup.py builds from kernel.c and module.c."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microgpt.documents import Batch, Weights

Array = NDArray[np.floating] | NDArray[np.int32]

def kernels() -> list[str]: ...

class Model:
    position: int
    def __new__(
        cls,
        sizes: tuple[int, int, int, int, int],
        optimizer: tuple[float, float, float, float],
        real_bytes: int,
        simd: str,
        threads: int,
    ) -> Model: ...
    def load(self, flat: Array, t: float) -> None: ...
    def state(self, flat: Array) -> float: ...
    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None,
    ) -> list[float]: ...
    def loss(self, batch: Batch, weights: Weights | None) -> float: ...
    def losses(self, batch: Batch) -> list[list[float]]: ...
    def gradient(self, batch: Batch, weights: Weights | None, flat: Array) -> float: ...
    def reset(self) -> None: ...
    def step(self, token: int, logits: Array) -> None: ...
    def sample(
        self, count: int, seed: int, temperature: float, top_k: int, top_p: float, prefix: Array
    ) -> list[list[int]]: ...
    def inspect(
        self,
        tokens: Array,
        logits: Array,
        probs: Array,
        attention: Array,
        residual: Array,
        hidden: Array,
    ) -> None: ...
