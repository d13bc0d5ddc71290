"""The response object of an HTTPS endpoint in Python."""

from __future__ import annotations

from doorleaf.documents import Document


class Response:
    """The answer that a function writes; it goes out instead of what the function returns."""

    def __init__(self) -> None:
        self.touched = False
        self.said: Document = {"status": 200, "headers": [], "body": b""}

    def set_status_code(self, status: int) -> None:
        self.touched = True
        self.said["status"] = status

    def set_body(self, body: str | bytes) -> None:
        """The body, as text or bytes."""
        if not isinstance(body, (str, bytes)):
            raise TypeError("set_body takes text or bytes")
        self.touched = True
        self.said["body"] = body.encode() if isinstance(body, str) else body

    def set_header(self, name: str, value: str) -> None:
        """One header, in place of those of the same name."""
        self.said["headers"] = [item for item in self.said["headers"] if item[0].lower() != name.lower()]
        self.add_header(name, value)

    def add_header(self, name: str, value: str) -> None:
        self.touched = True
        self.said["headers"].append((name, str(value)))
