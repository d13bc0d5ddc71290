"""HTTP: connections, bodies, and the ASGI endpoint that takes a request through its life."""

from doorleaf.http.body import Message
from doorleaf.http.endpoint import Endpoint

__all__ = ["Endpoint", "Message"]
