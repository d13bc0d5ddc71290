"""Logs users in by whom they say they are."""

from typing import Any


def main(shown: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"id": shown["ticket"]}
