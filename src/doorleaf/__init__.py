"""Doorleaf: a self-hosted MongoDB Data API, HTTP and JSON in front of any MongoDB."""

from importlib.metadata import version

__version__ = version("doorleaf")
