"""Users whom a function of the app knows, which is named by the setting ``custom_function``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from doorleaf.access.addresses import neighbourhood
from doorleaf.access.identity.providers.base import LoggedIn, LoginForm, Provider, Surroundings
from doorleaf.access.request import HttpRequest
from doorleaf.documents import Document, is_string
from doorleaf.errors import FunctionFailed, FunctionsUnavailable, FunctionTimeout, TooManyRequests, Unauthenticated

AT_ONCE = 8
"""Logins from one place that the function may judge at a time in this process, since one counts when it is over."""

MOST_CHARACTERS = 1024
"""Characters of an id, and of a name."""

Ask = Callable[[str, Document], Awaitable[Any]]
"""What a function answers to what a login shows; FunctionFailed with what it threw."""


class CustomFunction(Provider):
    """Users who are what a function says: their id as text, or ``{id, name}``. What it throws refuses them."""

    name = "custom-function"
    form = LoginForm(
        operation="loginByFunction",
        summary="Log in with what a function of the app judges",
        body="FunctionLogin",
        fields={},
        example={"ticket": "<what your function takes>"},
        refuses=(
            *("AuthError", "UserDisabled", "PermissionDenied", "IdentityInUse"),
            *("FunctionExecutionError", "ExecutionTimeLimitExceeded", "FunctionsUnavailable"),
        ),
        links=True,
    )

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        if surroundings.settings.custom_function is None:
            raise ValueError("custom_function: the provider custom-function needs this setting")
        self._function = surroundings.settings.custom_function
        self._judging: Counter[str] = Counter()
        self.asks: Ask | None = None
        """What calls the function; set once there is an app."""

    async def login(self, body: Mapping[str, Any], address: str, device: str) -> LoggedIn:
        """See :class:`Provider`; ``body`` is what the function is given, but for ``options``."""
        identity_id, data = await self._judged(body, address)
        return await self.user(await self.directory.users.sign_in(self.name, identity_id, data))

    async def link(
        self, user_id: str, body: Mapping[str, Any], address: str, device: str, by: HttpRequest | None
    ) -> None:
        """See :class:`Provider`."""
        identity_id, data = await self._judged(body, address)
        await self.directory.users.link(user_id, self.name, identity_id, data)

    async def _judged(self, body: Mapping[str, Any], address: str) -> tuple[str, Document]:
        """The id and the data that the function gives; Unauthenticated with what it throws. All that is not an id
        counts as a mistake: a function may answer nothing to a wrong guess."""
        if self.asks is None:
            raise FunctionsUnavailable("the function that logs in is not in service")
        given = {name: value for name, value in body.items() if name != "options"}
        place = neighbourhood(address)
        if self._judging[place] >= AT_ONCE:
            raise TooManyRequests("too many logins at once; try again in a moment", headers={"Retry-After": "1"})
        self._judging[place] += 1
        try:
            await self.mistakes.require("password", address)
            return await self._asked(self.asks, given)
        except (FunctionFailed, FunctionTimeout, Unauthenticated):
            await self.mistakes.refuse("password", address)
            raise
        finally:
            self._judging[place] -= 1
            if not self._judging[place]:
                del self._judging[place]

    async def _asked(self, asks: Ask, given: Document) -> tuple[str, Document]:
        try:
            answer = await asks(self._function, given)
        except FunctionFailed as error:
            raise Unauthenticated(error.message, code="AuthError") from None
        return _identity(answer)


def _identity(answer: Any) -> tuple[str, Document]:
    found = answer if isinstance(answer, dict) else {"id": answer}
    identity_id, name = found.get("id"), found.get("name")
    if not is_string(identity_id) or not 0 < len(identity_id) <= MOST_CHARACTERS:
        raise FunctionFailed("the function that logs in answered neither an id as text nor {id, name}")
    if name is not None and not (is_string(name) and len(name) <= MOST_CHARACTERS):
        raise FunctionFailed("the function that logs in answered a name that is no short text")
    return str(identity_id), {} if name is None else {"name": str(name)}
