"""Offers of clients to speak another protocol on the connection (RFC 9110, 7.8): passed over, with all that follows."""

from __future__ import annotations

from collections.abc import Iterable

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = (b"content-length", b"transfer-encoding")


class PassingOver(HttpToolsProtocol):
    """Reads requests whatever they offer. ``again`` is true while a head is read that has been read before."""

    lenient = False
    again = False

    def feed(self, data: bytes) -> None:
        """Have ``data`` parsed; HttpParserUpgrade only for an offer that is taken.

        After any other the parser takes all that follows, the request's own body too, for the other protocol: so that
        a new one goes on there.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                if self._should_upgrade():
                    raise
                data = data[offer.args[0] :]
                self.parser, self.again = self.new_parser(), True
                self.parser.feed_data(_framing(self.headers))
                self.again = False
                if data:
                    continue
            return

    def new_parser(self) -> HttpRequestParser:
        """A parser that calls this connection."""
        parser = HttpRequestParser(self)
        if self.lenient:
            # The parser takes a LF alone with both of these, and a CR alone with neither.
            parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_optional_lf_after_cr=True)
        return parser

    def _should_upgrade(self) -> bool:
        # A WebSocket begins with a GET that has no body (RFC 6455, 4.1); with anything else it is an offer like others.
        if self.parser.get_method() != b"GET" or any(name in _FRAMING for name, _ in self.headers):
            return False
        return super()._should_upgrade()

    def on_url(self, url: bytes) -> None:
        if not self.again:
            super().on_url(url)

    def on_message_complete(self) -> None:
        # With an offer the parser says so behind the head, where the body only begins.
        if not self.parser.should_upgrade() or self._should_upgrade():
            super().on_message_complete()


def _framing(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A head of a request that says of its body what ``headers`` say, and nothing else."""
    told = [name + b": " + value + b"\r\n" for name, value in headers if name in _FRAMING]
    return b"POST / HTTP/1.1\r\n" + b"".join(told) + b"\r\n"
