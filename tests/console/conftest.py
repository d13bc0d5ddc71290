"""The fixtures of this folder's tests alone."""

from started import browser, server

__all__ = ["browser", "server"]
