"""What ``data_api_config.json`` of the app wants of requests to actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from doorleaf.dialects.base import Later, Reply, Request
from doorleaf.errors import NotFound, PermissionDenied, Unsupported
from doorleaf.functions.request import query_told
from doorleaf.functions.runtime import Functions
from doorleaf.functions.signatures import unproven

Refuse = Callable[[str], Awaitable[None]]
"""Counts a wrong secret or signature from an address; raises TooManyRequests when there were too many."""


class Gate:
    """The gate of the Data API of the app that ``functions`` serve; ``refuse`` is told of wrong secrets."""

    def __init__(self, functions: Functions, refuse: Refuse) -> None:
        self._functions = functions
        self._refuse = refuse

    def admit(self, request: Request) -> Later | None:
        """Let a request in, or answer what refuses it by and by. Raises NotFound, PermissionDenied and Unsupported.

        Keys with full rights are judged as little as by rules.
        """
        api, identity = self._functions.data_api, request.identity
        if identity.admin and not identity.caller:
            return None
        if api.closed:
            raise PermissionDenied("the app's Data API is not in service: its configuration has a mistake")
        if api.disabled:
            raise NotFound("the app's Data API is disabled")
        method, name = api.proof
        if method == "VERIFY_PAYLOAD" and request.upload is not None:
            raise Unsupported("lines are stored as they come, before a signature can be looked at: send JSON")
        if method != "NO_VALIDATION":
            error = unproven(method, self._functions.version.secrets.get(name), request, query_told(request))
            if error is not None:
                return self._refused(error, request)
        if not self._functions.holds(api.allowed, request):
            raise PermissionDenied("can_evaluate of the app's Data API does not hold for this request")
        return None

    def _refused(self, error: Exception, request: Request) -> Later:
        async def reply() -> Reply:
            await self._refuse(request.address)
            raise error

        return Later(reply)
