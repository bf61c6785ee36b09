"""The middleware of every request: its id, the limit of its body, the access log, and HEAD.

HEAD is answered as GET without the body, wherever there is a GET (RFC 9110, 9.3.2).
"""

import re
import secrets
from collections.abc import Mapping
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from app.errors import TooLarge
from app.messages import Message

log = structlog.get_logger("access")
_MAX_LOGGED_QUERY_LENGTH: Final = 1000
_REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")


class RequestMiddleware:
    """ASGI middleware around every request."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_bytes_by_path: Mapping[str, int]) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.max_bytes_by_path = max_bytes_by_path
        """Paths whose bodies are files, with the limit of each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _find_request_id(scope)
        scope["request_id"] = request_id
        is_head = scope["method"] == "HEAD"
        started = perf_counter()
        status = 0

        async def send_with_id(message: AsgiMessage) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            elif is_head:
                message["body"] = b""
            await send(message)

        try:
            inner_scope = {**scope, "method": "GET"} if is_head else scope
            await self.app(inner_scope, self._limit_body(scope, receive), send_with_id)
        except Exception:
            status = status or 500
            raise
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1")[:_MAX_LOGGED_QUERY_LENGTH],
                status=status,
                ms=round((perf_counter() - started) * 1000, 1),
                request_id=request_id,
            )

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that raises TooLarge as soon as a body is known to exceed its limit."""
        limit = self.max_bytes_by_path.get(scope["path"], self.max_body_bytes)
        header = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        declared = int(header) if header.isdigit() else 0
        received = 0

        async def receive_limited() -> AsgiMessage:
            nonlocal received
            if declared > limit:
                raise _build_too_large(limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _build_too_large(limit)
            return message

        return receive_limited


def _build_too_large(limit: int) -> TooLarge:
    """Return the error of a body over the limit."""
    message = Message("The request body is too large. The limit is {limit:,} bytes.", limit=limit)
    return TooLarge(message, limit)


def _find_request_id(scope: Scope) -> str:
    """Return the X-Request-ID of the client when it is a plain word, else a new one."""
    header = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = header.decode("latin-1")
    return text if _REQUEST_ID.match(text) else secrets.token_hex(8)
