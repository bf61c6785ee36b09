"""Who may do what: roles, each including the one before, held for all or for named jurisdictions.

Outside one's scope a record does not exist (404); inside it, a right one lacks is named (403).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.errors import Forbidden, NotFound, Unauthenticated

Role = Literal["public", "reader", "analyst", "editor", "admin"]
ROLES: Final[tuple[Role, ...]] = ("public", "reader", "analyst", "editor", "admin")


@dataclass(frozen=True)
class Principal:
    """A caller: a program's key, or nobody in particular."""

    name: str
    role: Role | None
    jurisdictions: frozenset[str] | None = None
    anonymous: bool = False

    def has_role(self, role: Role) -> bool:
        """Tell whether the caller has a role or a higher one."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)

    def require_role(self, role: Role) -> None:
        """Raise unless the caller holds the role somewhere."""
        if self.has_role(role):
            return
        if self.anonymous:
            raise Unauthenticated
        raise Forbidden(f"This needs the role {role!r}; {self.name} has {self.role!r}.")

    def require_scope(self, role: Role) -> list[str] | None:
        """Return the jurisdictions in which the caller holds the role, None for all of them."""
        self.require_role(role)
        return None if self.jurisdictions is None else sorted(self.jurisdictions)

    def require_role_in(self, role: Role, jurisdictions: Sequence[str]) -> None:
        """Raise unless the caller holds the role in every one of the jurisdictions."""
        self.require_role(role)
        if self.jurisdictions is None:
            return
        for jurisdiction in jurisdictions:
            if jurisdiction not in self.jurisdictions:
                raise NotFound("jurisdiction", jurisdiction)

    def require_role_everywhere(self, role: Role) -> None:
        """Raise unless the caller holds the role without a limit to jurisdictions."""
        self.require_role(role)
        if self.jurisdictions is not None:
            raise Forbidden(f"This needs the role {role!r} for all jurisdictions.")

    @property
    def sees_restricted(self) -> bool:
        """Tell whether restricted columns are shown: editors, whose scope limits the rows."""
        return self.has_role("editor")


def build_anonymous_principal(role: str) -> Principal:
    """Return the caller without a key."""
    granted = next((known for known in ROLES if known == role), None)
    return Principal("anonymous", granted, None, anonymous=True)


OPERATOR: Final = Principal("operator", "admin")
"""The person at the command line of the machine."""
