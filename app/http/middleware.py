"""What surrounds every request: its id, the limit on its body, and the line in the log.

HEAD is answered as GET without the body, wherever there is a GET (RFC 9110, 9.3.2).
"""

import re
import secrets
from collections.abc import Mapping
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLarge

log = structlog.get_logger("access")
_LONGEST_QUERY: Final = 1000
"""A query is logged up to here: what a client filters by shows whether it asks the service at all."""
_ID: Final = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")


class Envelope:
    """ASGI middleware: request id in and out, bodies counted while they arrive, access log."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, larger: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.larger = larger or {}
        """Paths whose bodies are files, with the limit of each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        head = scope["method"] == "HEAD"
        asked = {**scope, "method": "GET"} if head else scope
        began = perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                ]
            elif head:
                message["body"] = b""
            await send(message)

        try:
            await self.app(asked, self._counted(scope, receive), answer)
        except Exception:
            status = status or 500
            raise
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1")[:_LONGEST_QUERY],
                status=status,
                ms=round((perf_counter() - began) * 1000, 1),
                request_id=request_id,
            )

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that refuses a body once it is known to be too large."""
        limit = self.larger.get(scope["path"], self.max_body_bytes)
        stated = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        expected = int(stated) if stated.isdigit() else 0
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if expected > limit:
                raise too_large(limit)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise too_large(limit)
            return message

        return counted


def too_large(limit: int) -> TooLarge:
    """Return the refusal of a body over the limit."""
    return TooLarge(f"A request body may have {limit:,} bytes.", limit)


def _request_id(scope: Scope) -> str:
    """Return the caller's X-Request-ID when it is a plain word, else a new one."""
    given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
    text = given.decode("latin-1")
    return text if _ID.match(text) else secrets.token_hex(8)
