"""Where requests come from, and which addresses may call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, application

from doorleaf.access.addresses import Addresses, among, neighbourhood, networks, unmapped
from doorleaf.errors import PermissionDenied
from doorleaf.settings.model import Settings

PING = b'{"database": "app", "command": {"ping": 1}}'
PROXIES = ("10.0.0.0/8", "fd00::/8", "192.0.2.7")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.7", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:DB8:0::9", "2001:db8::9"),
        # who is no proxy of ours says nothing
        ("203.0.113.9", "127.0.0.1", "203.0.113.9"),
        ("192.0.2.8", "127.0.0.1", "192.0.2.8"),
        # the client wrote the left part itself
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.9, 10.0.0.3, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "nonsense, 203.0.113.9", "203.0.113.9"),
        # nobody but proxies: the farthest
        ("10.0.0.1", "10.0.0.5, 10.0.0.4", "10.0.0.5"),
        # nonsense: the last that is known
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, ', 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        # ports and brackets
        ("10.0.0.1", "203.0.113.9:8080", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:8080", "2001:db8::9"),
        ("10.0.0.1", "[2001:db8::9]", "2001:db8::9"),
        # an IPv4 address in an IPv6 socket
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: str | None, client: str) -> None:
    assert Addresses(trusted_proxies=PROXIES).client(peer, forwarded) == client
    assert Addresses().client(peer, forwarded) == peer


@pytest.mark.parametrize(
    ("listed", "address", "allowed"),
    [
        (("0.0.0.0/0", "::/0"), "203.0.113.9", True),
        (("0.0.0.0/0", "::/0"), "", True),
        (("0.0.0.0/0",), "203.0.113.9", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("::/0",), "2001:db8::1", True),
        (("::/0",), "203.0.113.9", False),
        ((), "127.0.0.1", False),
        ((), "::1", False),
        (("203.0.113.9",), "203.0.113.9", True),
        (("203.0.113.9",), "::ffff:203.0.113.9", True),
        (("203.0.113.9",), "203.0.113.10", False),
        (("203.0.113.0/24",), "203.0.113.255", True),
        (("203.0.113.0/24",), "203.0.114.0", False),
        (("2001:db8::/32",), "2001:db8:ffff::1", True),
        (("2001:db8::/32",), "2001:db9::1", False),
        (("203.0.113.0/24",), "", False),
        (("203.0.113.0/24",), "localhost", False),
        (("203.0.113.0/24",), "203.0.113.9, 1.2.3.4", False),
        (("10.1.2.3",), "010.1.2.3", False),
    ],
)
def test_the_list(listed: tuple[str, ...], address: str, allowed: bool) -> None:
    addresses = Addresses(listed)
    for _ in range(2):
        if allowed:
            addresses.require(address)
        else:
            with pytest.raises(PermissionDenied) as caught:
                addresses.require(address)
            assert caught.value.code == "AddressNotAllowed"
            assert "203" not in caught.value.message
    assert among(address, networks(listed)) is (allowed and address != "")


@pytest.mark.parametrize(
    ("setting", "blocks", "said"),
    [
        ("ip_access_list", ["300.0.0.1"], "'300.0.0.1' is no IP address"),
        ("ip_access_list", ["10.0.0.1/8"], "'10.0.0.1/8' is no IP address and no CIDR block"),
        ("ip_access_list", ["10.0.0.0/33"], "no CIDR block"),
        ("ip_access_list", ["localhost"], "'localhost' is no IP address"),
        ("ip_access_list", [""], "'' is no IP address"),
        ("ip_access_list", ["::ffff:10.0.0.1"], "write it as IPv4"),
        ("trusted_proxies", ["10.0.0.0/8", "proxy"], "'proxy' is no IP address"),
    ],
)
def test_blocks_that_are_none_are_refused_at_start(setting: str, blocks: list[str], said: str) -> None:
    given: dict[str, Any] = {setting: blocks}
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        Settings(**given)


def test_neighbours_share_their_counters_in_ipv6_only() -> None:
    assert neighbourhood("203.0.113.9") == "203.0.113.9"
    assert neighbourhood("2001:db8:1:2:3::4") == neighbourhood("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert neighbourhood("2001:db8:1:3::1") != neighbourhood("2001:db8:1:2::1")
    assert neighbourhood("nonsense") == "nonsense"
    assert unmapped("::ffff:10.0.0.1") == "10.0.0.1"
    assert unmapped("::ffff:a") == "::ffff:a"


# --- through the application, whose client is 127.0.0.1 ------------------------------------------------------------

PATHS = [
    ("POST", "/data/v1/action/runCommand"),
    ("POST", "/app/any-app/endpoint/data/v1/action/runCommand"),
    ("POST", "/auth/providers/api-key/login"),
    ("POST", "/auth/session"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/"),
    ("POST", "/nothing/here"),
    ("GET", "/data/v1/action/runCommand"),
]


@pytest.mark.parametrize("listed", [(), ("203.0.113.0/24",)])
def test_strangers_get_nothing_but_signs_of_life(tmp_path: Path, listed: tuple[str, ...]) -> None:
    with application(tmp_path, ip_access_list=listed) as app:
        for method, path in PATHS:
            for headers in ({}, {"apiKey": KEY}, {"apiKey": KEY, "X-Forwarded-For": "203.0.113.9"}):
                answer = app.call(method, path, PING, headers)
                assert answer.status == 403, path
                assert answer.json == {
                    "error": "requests from this address are not allowed",
                    "error_code": "AddressNotAllowed",
                }
        assert app.call("GET", "/livez").status == 200
        assert app.call("GET", "/readyz").status == 200


def test_a_proxy_that_is_trusted_speaks_for_its_clients(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"ip_access_list": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1"]}
    with application(tmp_path, **chosen) as app:

        def status(forwarded: str | None) -> int:
            headers = {"apiKey": KEY} | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
            return app.call("POST", "/data/v1/action/runCommand", PING, headers).status

        assert status("203.0.113.9") == 200
        assert status("1.2.3.4, 203.0.113.9") == 200
        assert status("203.0.113.9, 1.2.3.4") == 403
        assert status("1.2.3.4") == 403
        assert status(None) == 403
        twice = [("apiKey", KEY), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "1.2.3.4")]
        assert app.call("POST", "/data/v1/action/runCommand", PING, twice).status == 403
        twice = [("apiKey", KEY), ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.9")]
        assert app.call("POST", "/data/v1/action/runCommand", PING, twice).status == 200


def test_everybody_may_call_by_default(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        assert app.act("runCommand", PING).status == 200
        assert app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": KEY})).status == 200


def test_a_preflight_is_answered_to_those_who_may_call(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"ip_access_list": ["192.0.2.0/24"], "trusted_proxies": ["127.0.0.1"]}
    with application(tmp_path, cors_origins=["https://example.com"], **chosen) as app:
        asks = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
        for path in ("/data/v1/action/find", "/nothing", "/"):
            answer = app.call("OPTIONS", path, b"", {**asks, "X-Forwarded-For": "198.51.100.1"})
            assert (answer.status, answer.json["error_code"]) == (403, "AddressNotAllowed")
            assert "access-control-allow-methods" not in answer.headers
            other = app.call("OPTIONS", path, b"", {**asks, "Origin": "https://x.y", "X-Forwarded-For": "198.51.100.1"})
            assert other.json["error_code"] == "AddressNotAllowed", "not even which origins may call"
        assert app.call("OPTIONS", "/data/v1/action/find", b"", {**asks, "X-Forwarded-For": "192.0.2.9"}).status == 204
