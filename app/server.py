"""Runs the application: the port, the worker processes, and the signals that stop them."""

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
"""Time that running requests get when the service stops."""
_WORKER_TIMEOUT_S: Final = 60
"""Time after which the supervisor replaces a worker that does not respond."""


class ListenError(Exception):
    """The service cannot listen on its address and port; the message is for the operator."""


def open_listener(host: str, port: int) -> socket.socket:
    """Bind the port; connections are accepted only when the application runs.

    Raises
    ------
    ListenError
        when the port is in use, or the address does not belong to this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        msg = (
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Choose another address or port with REGISTRY_HOST and REGISTRY_PORT."
        )
        raise ListenError(msg) from error
    return listener


def run_server(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal stops the service, in this process or in several workers."""
    config = uvicorn.Config(
        "app.server:create_application",
        factory=True,
        workers=settings.workers,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=_WORKER_TIMEOUT_S,
        server_header=False,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run([listener])
    else:
        _WorkerSupervisor(config, [listener]).run()


class _WorkerSupervisor(Multiprocess):
    """Worker processes that share the port."""

    @override
    def terminate_all(self) -> None:
        """Close the port first: no worker would accept connections that arrive from now on."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def create_application() -> ASGIApp:
    """Return the application of this process; a worker stops with the process that started it."""
    service = multiprocessing.parent_process()
    if service is not None:
        threading.Thread(target=_stop_after, args=(service,), daemon=True).start()
    from app.main import create_app  # slow to import, and most commands do not serve

    app = create_app()
    reduce_garbage_collection()
    for number in (signal.SIGTERM, signal.SIGINT):
        _prepend_signal_handler(number, app.state.streams.stop)
    return _add_cased_location(app)


def reduce_garbage_collection() -> None:
    """Let Python collect garbage rarely, and never in the modules that are loaded.

    An analysis of a city creates a hundred thousand geometries, none of them in a reference cycle; the collector took
    two fifths of the time of crossings and their guards.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _CasedName(bytes):
    """The name of a header that keeps its case; uvicorn lowercases other names."""

    @override
    def lower(self) -> bytes:
        """Return the name unchanged."""
        return self


_LOCATION: Final = _CasedName(b"Location")


def _add_cased_location(app: ASGIApp) -> ASGIApp:
    """Return the application with the header ``Location`` of a created record in that case.

    QGIS 3.40 does not find the header in another case. It then reports that the feature was not added, and the analyst
    adds it again.
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_cased(message: Message) -> None:
            if message.get("status") == 201:
                message["headers"] = [
                    (_LOCATION if name == b"location" else name, value) for name, value in message["headers"]
                ]
            await send(message)

        creates = scope["type"] == "http" and scope["method"] in ("POST", "PUT")
        await app(scope, receive, send_cased if creates else send)

    return respond


def _prepend_signal_handler(number: int, stop: Callable[[], None]) -> None:
    """Call a function when a signal arrives, before its present handler.

    The server waits for running responses; a stream ends only when it is stopped.
    """
    present_handler = signal.getsignal(number)

    def handle_signal(received: int, frame: FrameType | None) -> None:
        stop()
        if callable(present_handler):
            present_handler(received, frame)

    signal.signal(number, handle_signal)


def _stop_after(service: BaseProcess) -> None:
    """Stop this worker when the process that started it was killed: the worker would keep the port."""
    service.join()
    os.kill(os.getpid(), signal.SIGTERM)


def exit_on_signals() -> None:
    """Raise SystemExit on SIGTERM, SIGINT and a closed terminal, so that resources are released."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


@contextmanager
def defer_signals() -> Iterator[None]:
    """Delay SIGTERM and SIGINT until the block ends: interrupted, it would leave resources behind."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
