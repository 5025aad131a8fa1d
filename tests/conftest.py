"""What many tests share: small models, and the published names where they can be had."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import settings

from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import State, initial_state

settings.register_profile("microgpt", deadline=None)  # no test fails for want of speed
settings.load_profile("microgpt")

EMMA = [26, 4, 12, 12, 0, 26]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="session")
def published() -> Path:
    """Return the path of the published names; the test is skipped where they are not at hand."""
    if not os.environ.get("MICROGPT_NAMES"):
        pytest.skip("MICROGPT_NAMES does not name a copy of the published list")
    return dataset.published()


@pytest.fixture
def state() -> State:
    """Return fresh parameters of the published sizes."""
    return initial_state(GPTConfig(), random.Random(42))


@pytest.fixture
def checkpoint(state: State) -> Checkpoint:
    """Return a model of the published sizes that has learned nothing yet."""
    return Checkpoint(GPTConfig(), LETTERS, state)
