"""The lab's server: the page's files, and answers about one model, to this machine alone.

It listens on 127.0.0.1. A page of another origin gets 403 and another name for this machine 400, so
that no web site can reach it through the browser; every question must carry the token in the first
URL. What runs for long (training, edited code) runs in a process of its own, which lives
as long as the connection that shows its events: a tab closed ends its run.
"""

import asyncio
import json
import secrets
import socket
import sys
import threading
import webbrowser
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.lab import lessons
from microgpt.lab.jobs import console
from microgpt.lab.models import Models

STATIC = Path(str(files("microgpt.lab") / "static"))
MODEL = SHIPPED
MOST = 1_000_000  # bytes of one question: an edited gpt.py fits many times, a list of names too
RUNS = 40  # runs at once; a class, and everyone's second tab
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def create(opened: Sequence[Path], token: str, port: int) -> Starlette:
    """Return the application that answers about models to those who show the token.

    Raises:
        OSError: a model cannot be read.
        ValueError: a model cannot be used.
    """
    folder = TemporaryDirectory(prefix="microgpt-lab-")  # for the models that runs train
    models = Models(opened, Path(folder.name))
    runs = dict[str, asyncio.subprocess.Process]()
    measured = defaultdict[str, list[str]](list)  # by model, the events of a run always the same
    shipped = Checkpoint.load(MODEL)
    lock = threading.Lock()
    turns = defaultdict[str, threading.Lock](threading.Lock)  # an engine has one context

    def answer(of: str, name: str, question: dict[str, Any]) -> Any:
        if name == "models":
            return models.listed()
        with lock:
            answers, turn = models.answers(of), turns[of]
        with turn:  # the small ones do not wait for a large one
            return answers.answer(name, question)

    @lru_cache(8)
    def cartridge(of: str, name: str) -> dict[str, Any]:
        return console.make(Checkpoint.load(models.path(of)).model(), shipped, name)

    async def ask(request: Request) -> Response:
        of, name = request.query_params.get("model", ""), request.path_params["name"]
        return JSONResponse(await run_in_threadpool(answer, of, name, await _body(request)))

    async def start(request: Request) -> Response:
        question = await _body(request) | {"kind": request.path_params["kind"]}
        of = request.query_params.get("model", "")
        if len(runs) >= RUNS:
            raise ValueError(f"{RUNS} runs go on already; end one by closing its tab")
        if question["kind"] == "console":
            name = str(question.get("cartridge", "classic"))
            question |= await run_in_threadpool(cartridge, of, name)
        run = secrets.token_urlsafe(8)
        events = _events(runs, run, [models.path(of), Path(folder.name) / run], question)
        if question["kind"] == "bits":
            events = _once(events, measured[of])
        return StreamingResponse(events, media_type="text/event-stream")

    async def command(request: Request) -> Response:
        process = runs.get(request.path_params["run"])
        if process is None or process.stdin is None:
            raise ValueError("that run has ended; start another")
        with suppress(ConnectionError):  # it ended just now: its events say so
            process.stdin.write(json.dumps(await _body(request)).encode() + b"\n")
            await process.stdin.drain()
        return JSONResponse({})

    async def school(request: Request) -> Response:
        return Response(lessons.to_json(), media_type="application/json")

    async def nothing(request: Request) -> Response:
        return JSONResponse([])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with folder:
            yield

    own = models.path("")  # recorded.json tells of the model that ships with microgpt
    ours = [] if own == MODEL else [Route("/recorded.json", nothing)]
    app = Starlette(
        routes=[
            *ours,
            Route("/lessons.json", school),
            Route("/api/ask/{name}", ask, methods=["POST"]),
            Route("/api/run/{kind}", start, methods=["POST"]),
            Route("/api/command/{run}", command, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={ValueError: _complain, OSError: _complain},
        lifespan=lifespan,
    )
    app.add_middleware(Guard, token=token, port=port)
    return app


class Guard:
    """Lets through only who speaks to this machine, from its own page, with the token."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        shown = headers.get("authorization", "")
        if headers.get("host") not in self.hosts:
            refusal: Response | None = _error(400, "the lab answers to 127.0.0.1 and localhost")
        elif "origin" in headers and headers["origin"] not in self.origins:
            refusal = _error(403, "the lab answers to its own page alone")
        elif scope["path"].startswith("/api/") and not secrets.compare_digest(
            shown.encode(), f"Bearer {self.token}".encode()
        ):
            refusal = _error(403, "open the lab by the address that `microgpt lab` printed")
        else:
            refusal = None

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
                ]
            await send(message)

        await (refusal or self.app)(scope, receive, send_with_headers)


def _error(status: int, line: str) -> JSONResponse:
    return JSONResponse({"error": line}, status)


async def _complain(request: Request, error: Exception) -> Response:
    return _error(422, " ".join(str(error).split()))


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST:
            raise ValueError(f"the question is longer than {MOST:,} bytes; ask a shorter one")
    try:
        question = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        question = None
    if not isinstance(question, dict):
        raise ValueError("the question is not a JSON object")
    return question


async def _events(
    runs: dict[str, asyncio.subprocess.Process],
    run: str,
    paths: list[Path],
    question: dict[str, Any],
) -> AsyncGenerator[str]:
    """Start a process, pass on its lines as events, and end it when nobody reads any more.

    A line is read when the last one has been sent, so a slow reader slows the process down and
    nothing piles up here.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "microgpt.lab.process",
        *paths,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=4 * MOST,  # one line may hold a line of edited code, escaped
    )
    assert process.stdin is not None
    assert process.stdout is not None
    runs[run] = process
    try:
        process.stdin.write(json.dumps(question).encode() + b"\n")
        yield f"data: {json.dumps({'run': run})}\n\n"
        while line := await process.stdout.readline():
            yield f"data: {line.decode().rstrip()}\n\n"
    finally:
        del runs[run]
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


async def _once(events: AsyncGenerator[str], kept: list[str]) -> AsyncGenerator[str]:
    """Pass on the events of a run and keep them, or those kept of one that came to its end."""
    if kept:
        for event in kept:
            yield event
        return
    heard = []
    async with aclosing(events):
        async for event in events:
            heard.append(event)
            yield event
    if '"done"' in heard[-1]:
        kept[:] = heard


def place(opened: Sequence[Path]) -> str:
    """Return where in the page models are seen that are not every screen's: "" if all are."""
    names = Models.names(opened)
    if not any(names):
        return ""
    beside = f"&beside={names[1]}" if len(names) > 1 else ""
    return f"inside?model={names[0]}{beside}&"


def serve(opened: Sequence[str], port: int, show: Callable[[str], None], browse: bool) -> None:
    """Serve the lab until interrupted; `show` is called with its address.

    Raises:
        OSError: a model cannot be read, or the port is taken.
        ValueError: a model cannot be used.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise OSError(
            f"port {port} cannot be used ({error.strerror}); give another: --port 0 "
            "takes one that is free"
        ) from None
    with listening:
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        for model in opened:
            Path(model).stat()  # names one that is missing as it was typed
        paths = [Path(model).resolve() for model in opened]
        application = create(paths, token, port)
        address = f"http://127.0.0.1:{port}/#{place(paths)}token={token}"
        config = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,  # open event streams are no reason to stay
        )
        show(address)
        if browse:
            threading.Timer(0.3, webbrowser.open, [address]).start()
        uvicorn.Server(config).run(sockets=[listening])
