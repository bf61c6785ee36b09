"""API keys: creating, checking and revoking them.

A key is ``ccr_<id>_<secret>``. The prefix makes leaked keys easy to find, the id names the key in lists and in the
history, and the secret is stored only as an HMAC under the secret of the service.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.access import queries as key_queries
from app.access.roles import Principal, Role
from app.db.engine import Database
from app.errors import NotFound, Unauthenticated
from app.messages import Message

_KEY_PATTERN: Final = re.compile(r"^ccr_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$")
_MAX_CACHED: Final = 10_000
CACHE_S: Final = 2.0
"""How long a checked key is cached; a revocation takes effect after this time at the latest."""


def load_service_secret(configured: str | None, data_dir: Path) -> bytes:
    """Return the secret of the hashes: the configured one, or one that is created once in the data folder."""
    if configured:
        return configured.encode()
    path = data_dir / "secret"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{secrets.token_hex(4)}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(32))
        # A link is created whole, or fails when another process was first; a rename would replace that secret.
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes().strip()


def _compute_digest(secret: bytes, key: str) -> str:
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()


async def create_key(
    connection: AsyncConnection,
    secret: bytes,
    *,
    label: str,
    role: Role,
    jurisdictions: Sequence[str] | None,
    expires_at: datetime | None,
) -> tuple[str, str]:
    """Create a key and return its id and the key itself, which is not stored."""
    key_id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(12))
    key = f"ccr_{key_id}_{secrets.token_urlsafe(32)}"
    row: dict[str, Any] = {
        "id": key_id,
        "hash": _compute_digest(secret, key),
        "label": label,
        "role": role,
        "jurisdictions": None if jurisdictions is None else list(jurisdictions),
        "expires_at": expires_at,
    }
    await key_queries.insert_key(connection, row)
    return key_id, key


async def load_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every key, without secrets."""
    return await key_queries.fetch_keys(connection)


async def revoke_key(connection: AsyncConnection, key_id: str) -> None:
    """Revoke a key; raise NotFound if it does not exist or is revoked already."""
    if not await key_queries.update_revoked(connection, key_id):
        raise NotFound("key", key_id)


@dataclass(frozen=True)
class _CachedPrincipal:
    principal: Principal
    until: float


class Authenticator:
    """Checks the keys of requests, and caches the principals of valid keys for a short time."""

    def __init__(self, database: Database, secret: bytes, anonymous: Principal) -> None:
        self._database = database
        self._secret = secret
        self._anonymous = anonymous
        self._cache: dict[str, _CachedPrincipal] = {}

    async def authenticate_request(self, authorization: str | None) -> Principal:
        """Return the principal of an Authorization header; raise Unauthenticated if its key is not valid."""
        if authorization is None:
            return self._anonymous
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        match = _KEY_PATTERN.match(key)
        if scheme.lower() != "bearer" or match is None:
            raise Unauthenticated(Message("The Authorization header is not valid. Send: Authorization: Bearer ccr_..."))
        digest = _compute_digest(self._secret, key)
        cached = self._cache.get(digest)
        if cached is not None and cached.until > monotonic():
            return cached.principal
        return await self._check_key(match.group(1), digest)

    async def _check_key(self, key_id: str, digest: str) -> Principal:
        async with self._database.open_connection() as connection:
            row = await key_queries.fetch_key(connection, key_id)
            if row is None or not hmac.compare_digest(row["hash"], digest):
                self._cache.pop(digest, None)
                raise Unauthenticated(Message("The key is not valid: unknown, expired or revoked. Use another key."))
            await key_queries.update_last_used(connection, key_id)
        scope = row["jurisdictions"]
        principal = Principal(f"key:{key_id}", row["role"], None if scope is None else frozenset(scope))
        if len(self._cache) > _MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = _CachedPrincipal(principal, monotonic() + CACHE_S)
        return principal
