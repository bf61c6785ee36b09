"""Principals and roles: what a caller may do, and in which jurisdictions.

Each role includes the one before it. Outside the scope of a principal a record does not exist (NotFound); inside it, a
missing role is an error of its own (Forbidden).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.errors import Forbidden, NotFound, Unauthenticated
from app.messages import Message

Role = Literal["public", "reader", "analyst", "editor", "admin"]
ROLES: Final[tuple[Role, ...]] = ("public", "reader", "analyst", "editor", "admin")


@dataclass(frozen=True)
class Principal:
    """The caller of an operation: an API key, the operator, or an anonymous client."""

    name: str
    role: Role | None
    jurisdictions: frozenset[str] | None = None
    anonymous: bool = False

    def has_role(self, role: Role) -> bool:
        """Return whether the principal has a role or a higher one, in at least one jurisdiction."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)

    def require_role(self, role: Role) -> None:
        """Raise Forbidden, or Unauthenticated for an anonymous client, without the role in some jurisdiction."""
        if self.has_role(role):
            return
        if self.anonymous:
            raise Unauthenticated
        raise Forbidden(
            Message(
                "This request requires the role {role!r}; {principal} has {own_role!r}. Use a key with that role.",
                role=role,
                principal=self.name,
                own_role=self.role,
            )
        )

    def require_scope(self, role: Role) -> list[str] | None:
        """Return the jurisdictions in which the principal has the role, None for all; raise without the role."""
        self.require_role(role)
        return None if self.jurisdictions is None else sorted(self.jurisdictions)

    def require_role_in(self, role: Role, jurisdictions: Sequence[str]) -> None:
        """Raise NotFound for a jurisdiction outside the scope; raise Forbidden or Unauthenticated without the role."""
        self.require_role(role)
        if self.jurisdictions is None:
            return
        for jurisdiction in jurisdictions:
            if jurisdiction not in self.jurisdictions:
                raise NotFound("jurisdiction", jurisdiction)

    def require_role_everywhere(self, role: Role) -> None:
        """Raise Forbidden without the role in all jurisdictions."""
        self.require_role(role)
        if self.jurisdictions is not None:
            message = (
                "This request requires the role {role!r} in all jurisdictions; the scope of {principal} is limited."
            )
            raise Forbidden(Message(message, role=role, principal=self.name))

    @property
    def sees_restricted(self) -> bool:
        """Whether restricted fields are shown: to editors. The scope limits the records."""
        return self.has_role("editor")


def build_anonymous_principal(role: str) -> Principal:
    """Return the principal of a client without a key; it has no role if ``role`` is ``none``."""
    return Principal("anonymous", next((name for name in ROLES if name == role), None), anonymous=True)


OPERATOR: Final = Principal("operator", "admin")
"""The person at the command line of the machine: has every role."""
