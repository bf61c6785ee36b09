"""API keys: made, shown once, checked by keyed hash, revoked.

A key reads ``ccr_<id>_<secret>``: the prefix makes leaks findable, the id names the key in lists and
in the history, and the secret is stored only as an HMAC under the service's own secret.
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

_SHAPE: Final = re.compile(r"^ccr_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$")
CACHE_S: Final = 2.0
"""How long a checked key is believed without asking again: a revocation takes this long at most."""


def load_service_secret(configured: str | None, data_dir: Path) -> bytes:
    """Return the secret that keys the hashes, made once in the data folder when not configured."""
    if configured:
        return configured.encode()
    path = data_dir / "secret"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes().strip()


def _digest(secret: bytes, key: str) -> str:
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
    """Make a key and return its id and the whole key, which cannot be had again."""
    key_id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(12))
    key = f"ccr_{key_id}_{secrets.token_urlsafe(32)}"
    row: dict[str, Any] = {
        "id": key_id,
        "hash": _digest(secret, key),
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
    """Revoke a key.

    Raises
    ------
    NotFound
        when there is none, or it is revoked already.
    """
    if not await key_queries.update_revoked(connection, key_id):
        raise NotFound("key", key_id)


@dataclass(frozen=True)
class _CachedPrincipal:
    principal: Principal
    until: float


class Authenticator:
    """Checks keys, and remembers for a moment the ones it has checked."""

    def __init__(self, database: Database, secret: bytes, anonymous: Principal) -> None:
        self._database = database
        self._secret = secret
        self._anonymous = anonymous
        self._checked: dict[str, _CachedPrincipal] = {}

    async def authenticate(self, authorization: str | None) -> Principal:
        """Return who is calling.

        Raises
        ------
        Unauthenticated
            when a key is sent that is not valid.
        """
        if authorization is None:
            return self._anonymous
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        shape = _SHAPE.match(key)
        if scheme.lower() != "bearer" or shape is None:
            raise Unauthenticated("Send the key as: Authorization: Bearer ccr_...")
        digest = _digest(self._secret, key)
        remembered = self._checked.get(digest)
        if remembered is not None and remembered.until > monotonic():
            return remembered.principal
        return await self._check_key(shape.group(1), digest)

    async def _check_key(self, key_id: str, digest: str) -> Principal:
        async with self._database.open_connection() as connection:
            found = await key_queries.fetch_key(connection, key_id)
            if found is None or not hmac.compare_digest(found["hash"], digest):
                self._checked.pop(digest, None)
                raise Unauthenticated("This key is not valid: unknown, expired or revoked.")
            await key_queries.update_last_used(connection, key_id)
        scope = found["jurisdictions"]
        principal = Principal(f"key:{key_id}", found["role"], None if scope is None else frozenset(scope))
        if len(self._checked) > 10_000:
            self._checked.clear()
        self._checked[digest] = _CachedPrincipal(principal, monotonic() + CACHE_S)
        return principal
