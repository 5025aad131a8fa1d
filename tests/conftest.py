"""What many tests share: small models, and the published names where they can be had."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import settings

from microgpt import dataset
from microgpt.arrays import State
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state

# A suite started in the background inherits Ctrl-C as ignored, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Output waits in a buffer, as it does for users: what cannot be written may be known at the end.
os.environ.pop("PYTHONUNBUFFERED", None)

# PyTorch's threads would wait for each other where every core runs tests of its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@dataclass
class Web:
    """A web server on this machine: its address, what it serves, and what was asked of it."""

    url: str
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut_short: bool = False  # promise a longer page than is served


@pytest.fixture
def web() -> Iterator[Web]:
    """Return a web server, up until the test ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            if self.path in served.pages:
                page = served.pages[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(page) + served.cut_short))
                self.end_headers()
                self.wfile.write(page)
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Web(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, rest = path.read_text().rsplit(")", 1)
        except OSError:  # it has just ended
            continue
        state, parent = rest.split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found
