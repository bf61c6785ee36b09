"""Runs the application: the port, the worker processes, and the signals that end them."""

import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override
from uvicorn.supervisors import Multiprocess

from app.settings import Settings

GRACE_S: Final = 20
"""How long requests that are being answered may take when the service is stopped."""
_WORKER_SILENT_S: Final = 60
"""How long a worker may be too busy to answer its supervisor before it is replaced."""


class ListenError(Exception):
    """The address or port cannot be had; the message is for the operator."""


def open_listener(host: str, port: int) -> socket.socket:
    """Take the port, and leave it closed to callers until the application runs.

    Raises
    ------
    CannotListen
        when it is in use, or the address is not one of this machine.
    """
    claimed = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claimed.bind((host, port))
    except OSError as error:
        claimed.close()
        msg = (
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose others with REGISTRY_HOST and REGISTRY_PORT."
        )
        raise ListenError(msg) from error
    return claimed


def run_server(settings: Settings, claimed: socket.socket) -> None:
    """Serve until a signal says stop, in this process or in several workers."""
    config = uvicorn.Config(
        "app.server:application",
        factory=True,
        workers=settings.workers,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=_WORKER_SILENT_S,
        server_header=False,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run([claimed])
    else:
        _Workers(config, [claimed]).run()


class _Workers(Multiprocess):
    """Worker processes that share the port."""

    @override
    def terminate_all(self) -> None:
        """Let go of the port first: connections made from now on would wait for nobody."""
        for claimed in self.sockets:
            claimed.close()
        super().terminate_all()


def create_application() -> ASGIApp:
    """Return the application of this process; a worker ends with the service it belongs to."""
    service = multiprocessing.parent_process()
    if service is not None:
        threading.Thread(target=_end_after, args=(service,), daemon=True).start()
    from app.main import create_app  # slow to import, and most commands serve nothing

    app = create_app()
    reduce_garbage_collection()
    for number in (signal.SIGTERM, signal.SIGINT):
        _first(number, app.state.streams.stop)
    return _with_location_spelled(app)


def reduce_garbage_collection() -> None:
    """Let Python look for cycles in memory seldom, and never again in what is loaded by now.

    An answer about a city makes a hundred thousand shapes, none of them in a cycle; looking through them
    over and over took two fifths of the time of crossings and their guards.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _Spelled(bytes):
    """A header's name that stays as it is written, where the server would make it small."""

    @override
    def lower(self) -> bytes:
        """Return the name as it is."""
        return self


_LOCATION: Final = _Spelled(b"Location")


def _with_location_spelled(app: ASGIApp) -> ASGIApp:
    """Return the application with ``Location`` written so where something was created.

    QGIS 3.40 knows it in that spelling only, whatever the standard says of names of headers; without it,
    it reports that a feature was not added which was, and the analyst adds it again.
    """

    async def spelled(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message.get("status") == 201:
                message["headers"] = [
                    (_LOCATION if name == b"location" else name, value) for name, value in message["headers"]
                ]
            await send(message)

        creates = scope["type"] == "http" and scope["method"] in ("POST", "PUT")
        await app(scope, receive, answer if creates else send)

    return spelled


def _first(number: int, act: Callable[[], None]) -> None:
    """Do something when a signal comes, before what is done then anyway.

    The server waits for answers that are under way; a stream has to be told to end.
    """
    before = signal.getsignal(number)

    def both(got: int, frame: FrameType | None) -> None:
        act()
        if callable(before):
            before(got, frame)

    signal.signal(number, both)


def _end_after(service: BaseProcess) -> None:
    """Stop in order when a killed service leaves this worker behind, with its hand on the port."""
    service.join()
    os.kill(os.getpid(), signal.SIGTERM)


def exit_on_signals() -> None:
    """Leave by an exception on SIGTERM, SIGINT and a closed terminal, so that all is put away."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let signals to end wait until the block is done: half done, it would leave things behind."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _frame: asked.append(got))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])
