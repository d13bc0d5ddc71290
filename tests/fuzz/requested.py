"""What a right request is, and where the APIs are that it goes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from mutations import Body

CLIENT = "/api/client/v2.0"
APP = f"{CLIENT}/app/shop-abcde"
PROVIDERS = f"{APP}/auth/providers"
USERPASS = f"{PROVIDERS}/local-userpass"
ADMIN = "/api/admin/v1"
CALL = f"{APP}/functions/call"


@dataclass(frozen=True)
class Door:
    """A right request. ``bearer`` says whose token or key it has; names in braces are filled from :class:`Callers`."""

    method: str
    path: str
    body: Body | None = None
    query: dict[str, str] = field(default_factory=dict)
    bearer: str = "key"
    headers: dict[str, str] = field(default_factory=dict)
    weight: int = 4
    """How often it is chosen; what asks for a password takes long."""
