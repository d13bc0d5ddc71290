"""What the OpenAPI document says of an app's endpoints."""

from __future__ import annotations

import re
from typing import Any

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Route
from doorleaf.functions.load import HttpsEndpoint, Loaded

TAG = "Endpoints"
_ANY = ("DELETE", "GET", "PATCH", "POST", "PUT")
_PROOF = {
    "SECRET_AS_QUERY_PARAM": "Wants a secret, as `secret` in the query.",
    "VERIFY_PAYLOAD": "Wants `Endpoint-Signature: sha256=…`, the HMAC of the body with a secret.",
}


def described(loaded: Loaded) -> Dialect:
    """A dialect whose routes only say what the endpoints of ``loaded`` take and give."""
    routes = [
        Route(method, f"/endpoint{route}", "endpoint", about=_about(loaded, method, endpoint))
        for route, methods in sorted(loaded.endpoints.items())
        for given, endpoint in sorted(methods.items())
        for method in ([name for name in _ANY if name not in methods] if given == "*" else [given])
    ]
    return Dialect("endpoints", tuple(routes))


def _about(loaded: Loaded, method: str, endpoint: HttpsEndpoint) -> About:
    words = [part for part in re.split(r"[^A-Za-z0-9]+", endpoint.route) if part]
    public = loaded.functions[endpoint.function].runs_as != "application"
    gives = Gives(content=Any, description="What the function answers.")
    proof = _PROOF.get(endpoint.validation, "")
    return About(
        summary=f"The function {endpoint.function} of the app",
        tag=TAG,
        name="".join([method.lower(), "Endpoint", *(word.capitalize() for word in words)]),
        description=proof,
        gives=gives if endpoint.respond_result else Gives(status=204, description="It is done."),
        refuses=("FunctionExecutionError", "FunctionsUnavailable", *(("InvalidSignature",) if proof else ())),
        security=() if public else None,
    )
