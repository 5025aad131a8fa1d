"""What many tests share: small models, and the published names where they can be had."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Serve:
    """A web server on this machine that gives one content and counts who asked."""

    def __init__(self, content: bytes) -> None:
        self.content, self.requests = content, 0
        serve = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                serve.requests += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(serve.content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/names.txt"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Serve]]:
    """Return a function that serves a content until the test ends."""
    servers = []

    def start(content: bytes) -> Serve:
        servers.append(Serve(content))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
