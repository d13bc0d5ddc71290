"""What functions ask of other servers: only hosts that the operator allows, and never this network's own addresses."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

from doorleaf import __version__
from doorleaf.documents import Document
from doorleaf.errors import FunctionsUnavailable, InvalidParameter, PermissionDenied, Unsupported

MAX_BYTES = 16 * 1024 * 1024
MAX_SECONDS = 30.0
MOST_REDIRECTS = 5
PARTS = 2_000
PART_BYTES = 16
"""How many chunks an answer may have before they have to be this long on average: each takes as long as a long one."""
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "proxy-authorization", "te"})
_SECRET = frozenset({"authorization", "cookie"})
_USUAL = {"accept-encoding": ("Accept-Encoding", "identity"), "user-agent": ("User-Agent", f"doorleaf/{__version__}")}
_CODINGS = frozenset({"gzip", "x-gzip", "deflate", "identity"})
"""What ``zlib`` of functions undoes: nothing else is offered to a server, whatever a package would like."""


class Outgoing:
    """Sends requests to the hosts in ``allowed``: a name, ``*.name`` for all below it, each with a port or not.

    ``reachable`` says which addresses may be asked.
    """

    def __init__(self, allowed: Collection[str], reachable: Callable[[str], bool] | None = None) -> None:
        self._allowed = tuple(_host_and_port(host.lower()) for host in allowed)
        self._reachable = reachable or is_public

    async def send(self, asked: Document, seconds: float) -> Document:
        """The answer to ``{method, url, headers, body, follow, digest}``: ``{status, statusCode, headers, body}``.

        ``digest`` is a name and a password, for the server that asks for them so (RFC 7616).

        PermissionDenied for hosts that are not allowed and for addresses that nobody may reach.
        """
        try:
            import httpx

            from doorleaf.functions.answering import FAILURES, Transport
        except ImportError:
            raise FunctionsUnavailable("requests to other servers need httpx: install doorleaf[functions]") from None
        method, url = str(asked.get("method")), str(asked.get("url"))
        if method not in METHODS:
            raise InvalidParameter(f"method: expected one of {', '.join(sorted(METHODS))}")
        headers, body = _headers(asked.get("headers")), _body(asked.get("body"))
        user = _user(asked.get("digest"))
        try:
            async with asyncio.timeout(min(seconds, MAX_SECONDS)):
                for _ in range(MOST_REDIRECTS + 1):
                    answer = await self._once(httpx, Transport(), method, url, headers, body)
                    if answer["statusCode"] == 401 and (proof := _digest(httpx, user, method, url, answer)):
                        answer = await self._once(httpx, Transport(), method, url, [*headers, proof], body)
                    to = answer.pop("location")
                    if to is None or not asked.get("follow"):
                        return answer
                    if not as_safe(url, to := urljoin(url, to)):
                        headers, user = [(name, value) for name, value in headers if name.lower() not in _SECRET], None
                    if answer["statusCode"] == 303 or (answer["statusCode"] in (301, 302) and method == "POST"):
                        method, body = "GET", None
                    url = to
        except TimeoutError:
            raise FunctionsUnavailable("the other server took too long") from None
        except FAILURES as error:
            raise FunctionsUnavailable("the other server cannot be reached, or gives no valid answer") from error
        raise InvalidParameter(f"more than {MOST_REDIRECTS} redirects")

    async def _once(
        self, httpx: Any, transport: Any, method: str, url: str, headers: list[tuple[str, str]], body: bytes | None
    ) -> Document:
        try:
            parts = urlsplit(url)
            given = parts.port
        except ValueError:
            raise InvalidParameter("url: expected http:// or https:// and a host, without a user") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InvalidParameter("url: expected http:// or https:// and a host, without a user")
        host, port = parts.hostname.lower().rstrip("."), given or (443 if parts.scheme == "https" else 80)
        if not self._allows(host, port):
            raise PermissionDenied(f"the setting functions_http_allow does not have {host}")
        address = await self._address(host, port)
        # The name is looked up once and the address that was judged is the one that is asked.
        target = httpx.URL(url).copy_with(host=address)
        shown = host if port == {"http": 80, "https": 443}[parts.scheme] else f"{host}:{port}"
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=MAX_SECONDS) as client:
            request = client.build_request(
                method, target, headers=[*headers, ("Host", shown)], content=body, extensions={"sni_hostname": host}
            )
            answer = await client.send(request, stream=True)
            try:
                read, chunks = bytearray(), 0
                async for piece in answer.aiter_raw():  # as it came: nothing here takes it apart
                    read += piece
                    chunks += 1
                    if len(read) > MAX_BYTES:
                        raise InvalidParameter(f"the answer is larger than {MAX_BYTES // 1024 // 1024} MiB")
                    if chunks > PARTS and chunks * PART_BYTES > len(read):
                        raise InvalidParameter("the answer comes in too many small chunks")
            finally:
                await answer.aclose()
        found: dict[str, list[str]] = {}
        for name, value in answer.headers.multi_items():
            found.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
        location = answer.headers.get("location") if answer.status_code in _REDIRECTS else None
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        told = {"status": status, "statusCode": answer.status_code, "headers": found, "body": _told(bytes(read))}
        return {**told, "location": location}

    def _allows(self, host: str, port: int) -> bool:
        for name, only in self._allowed:
            if only and only != str(port):
                continue
            if host == name or (name.startswith("*.") and host.endswith(name[1:])):
                return True
        return False

    async def _address(self, host: str, port: int) -> str:
        """The address of ``host``; PermissionDenied when any that it has is one that nobody may reach."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise FunctionsUnavailable(f"the name {host} has no address") from None
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not self._reachable(address):
                raise PermissionDenied(f"{host} has an address that functions may not reach")
        return addresses[0]


def _host_and_port(text: str) -> tuple[str, str]:
    """``host``, ``host:port``, an IPv6 address, or one in brackets with a port."""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        return name, port.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    name, _, port = text.partition(":")
    return name, port


def is_public(text: str) -> bool:
    """Whether an address is one of the public Internet: not of this machine, this network, or a cloud's metadata."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address.packed[:12] == b"\0\x64\xff\x9b" + bytes(8):
            inner = ip_address(address.packed[12:])  # type: ignore[assignment]  # NAT64 has an IPv4 address inside
        if inner is not None:
            return is_public(str(inner))
        if address.packed[:12] == bytes(12) or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def as_safe(url: str, to: str) -> bool:
    """Whether what proves who asks ``url`` may go ``to`` another one: to the same server, and not in the open."""
    before, after = urlsplit(url), urlsplit(to)
    return before.netloc == after.netloc and (before.scheme != "https" or after.scheme == "https")


def _headers(given: Any) -> list[tuple[str, str]]:
    if not isinstance(given, dict):
        raise InvalidParameter("headers: expected an object")
    said = {name.lower() for name in given}
    found = [header for name, header in _USUAL.items() if name not in said]
    for name, values in given.items():
        for value in values if isinstance(values, list) else [values]:
            text = str(value)
            if not name.isascii() or not text.isascii() or any(c in name + text for c in "\r\n\0"):
                raise InvalidParameter("headers: a name or value has characters that no header may have")
            if name.lower() in _OURS:
                raise InvalidParameter(f"headers: {name} is not for a function to set")
            if name.lower() == "accept-encoding":
                text = ", ".join(one.strip() for one in text.split(",") if _coding(one) in _CODINGS) or "identity"
            found.append((name, text))
    return found


def _coding(offer: str) -> str:
    return offer.partition(";")[0].strip().lower()


def _user(given: Any) -> tuple[str, str] | None:
    if given is None:
        return None
    name, secret = (str(part) for part in given) if isinstance(given, list) and len(given) == 2 else ("", "")
    if not name or not (name + secret).isascii() or any(c in name + secret for c in '\r\n\0"\\'):
        raise InvalidParameter("digestAuth: expected a username and a password of characters that a header may have")
    return name, secret


def _digest(
    httpx: Any, user: tuple[str, str] | None, method: str, url: str, answer: Document
) -> tuple[str, str] | None:
    """The header by which ``user`` answers to what a server wants proof of; None where it wants none of this kind.

    Unsupported where it wants one of this kind that cannot be read, or is of another method than ``auth``.
    """
    if user is None:
        return None
    request = httpx.Request(method, url)
    said = [("WWW-Authenticate", value) for value in answer["headers"].get("Www-Authenticate", [])]
    steps = httpx.DigestAuth(*user).auth_flow(request)
    next(steps)
    try:
        steps.send(httpx.Response(401, headers=said, request=request))
    except StopIteration:
        return None
    except (httpx.ProtocolError, LookupError, ValueError, NotImplementedError):  # each for another challenge
        raise Unsupported("digestAuth: the other server asks for a proof that nobody can give here") from None
    return "Authorization", request.headers["Authorization"]


def _body(given: Any) -> bytes | None:
    if given is None:
        return None
    return b64decode(given["base64"]) if "base64" in given else str(given["text"]).encode("utf-8", "surrogatepass")


def _told(body: bytes) -> Document:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(body).decode()}
