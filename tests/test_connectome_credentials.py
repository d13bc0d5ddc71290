"""Credentials of Connectome on both engines: where they go, how far, how they end, and the command that makes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import product

import pytest
import requests
from connectome_attempts import ATTEMPTS, Attempt, Held
from connectome_served import MOVIES, Collection, Served, administer, error_of, served, without_ids
from servers import PATIENCE
from typer.testing import CliRunner

from doorleaf.cli.main import app

UNKNOWN = "there is no such credential for a collection with this id"


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(request, tmp_path_factory) as running:
        yield running


def test_a_credential_in_a_header_is_in_no_path(server: Served) -> None:
    movies = Collection(server).filled()
    url = f"{server.url}/collection/readwithquery/{movies.id}"
    for headers in ({"Authorization": f"Bearer {movies.read}"}, {"apiKey": movies.read}):
        assert len(requests.post(url, json={}, headers=headers, timeout=PATIENCE).json()) == 3
    assert len(requests.post(f"{url}/", json={}, headers=headers, timeout=PATIENCE).json()) == 3
    both = {"Authorization": f"Bearer {movies.read}", "apiKey": movies.write}
    error_of(requests.post(url, json={}, headers=both, timeout=PATIENCE), 400)


def test_pages_of_any_origin_may_call(server: Served) -> None:
    movies = Collection(server)
    asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "DELETE"}
    preflight = requests.options(movies.url("batchdelete"), headers=asks, timeout=PATIENCE)
    assert preflight.status_code == 204
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    for answer in (preflight, movies.call("read"), movies.call("write", [])):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name for attempt in ATTEMPTS])
def test_nobody_gets_further_than_a_credential_goes(server: Served, held: Held, attempt: Attempt) -> None:
    request = requests.Request(attempt.method, server.url, json=attempt.body, headers=attempt.headers(held)).prepare()
    request.url = server.url + attempt.path(held)  # as it is written, which requests would tidy
    answer = requests.Session().send(request, timeout=PATIENCE)
    assert answer.status_code in attempt.statuses, answer.text
    assert "Movie" not in answer.text
    if answer.status_code == 401 and "/collection/" in attempt.path(held) and attempt.name != "read no credential":
        assert answer.json() == {"success": False, "error": "InvalidSession", "message": UNKNOWN}
    for name in ("own", "other"):
        found = server.ok("find", database="shop", collection=getattr(held, f"{name}_name"))["documents"]
        assert without_ids(found) == MOVIES


@pytest.fixture(scope="module")
def held(server: Served) -> Held:
    """Two collections with the same movies, and credentials of all kinds."""
    own, other = Collection(server).filled(), Collection(server).filled()
    more = [administer(server, "POST", "", {"database": "shop", "collection": own.name}, status=201) for _ in range(2)]
    for kind in ("read", "write"):
        administer(server, "POST", f"/{more[0]['ids'][kind]}/revoke", {})
    administer(server, "POST", f"/{more[1]['ids']['read']}/rotate", {})
    ended = time.time() + 1
    short = {"database": "shop", "collection": own.name, "expires": {"$date": {"$numberLong": str(int(ended * 1000))}}}
    expired = administer(server, "POST", "", short, status=201)
    time.sleep(max(0.0, ended - time.time()))
    return Held(
        own_name=own.name,
        other_name=other.name,
        own=own.id,
        other=other.id,
        read=own.read,
        write=own.write,
        other_read=other.read,
        other_write=other.write,
        revoked_read=more[0]["read_credential"],
        revoked_write=more[0]["write_credential"],
        rotated_read=more[1]["read_credential"],
        expired_write=expired["write_credential"],
        key=server.key,
    )


def test_credentials_are_several_and_end_one_by_one(server: Served) -> None:
    movies = Collection(server).filled()
    place = {"database": "shop", "collection": movies.name}
    second = administer(server, "POST", "", {**place, "kind": "read"}, status=201)
    assert (second["collection_id"], second["write_credential"]) == (movies.id, None)
    assert len(movies.ok("read")) == 3
    rotated = administer(server, "POST", f"/{movies.ids['read']}/rotate", {"overlap_seconds": 3600})
    assert (rotated["kind"], rotated["collection"]) == ("read", movies.name)
    for text in (movies.read, rotated["credential"], second["read_credential"]):
        assert requests.get(movies.url("read", text), timeout=PATIENCE).status_code == 200
    revoked = administer(server, "POST", f"/{movies.ids['read']}/revoke", {})
    assert revoked["state"] == "revoked"
    for text, status in ((movies.read, 401), (rotated["credential"], 401), (second["read_credential"], 200)):
        assert requests.get(movies.url("read", text), timeout=PATIENCE).status_code == status
    listed = {one["id"]: one for one in administer(server, "GET", "")["credentials"]}
    assert listed[movies.ids["read"]]["state"] == "revoked"
    assert listed[second["ids"]["read"]]["last_used"] is not None
    assert listed[movies.ids["write"]]["state"] == "active"
    assert "hash" not in json.dumps(listed)
    assert administer(server, "GET", f"/{second['ids']['read']}") == listed[second["ids"]["read"]]
    for path, body, status in (
        ("/" + "0" * 24, None, 404),
        ("", {"database": "doorleaf", "collection": "keys"}, 403),
        ("", {"database": "shop"}, 400),
        ("", {**place, "kind": "all"}, 400),
        ("", {**place, "rate": "often"}, 400),
        ("", {**place, "quotas": {}}, 400),
        (f"/{movies.ids['read']}/rotate", {}, 400),
    ):
        administer(server, "GET" if body is None else "POST", path, body, status=status)


def test_a_credential_has_limits_as_keys_do(server: Served) -> None:
    limited = Collection(server, rate="2/hour", addresses=["127.0.0.0/8"])
    assert [limited.call("read").status_code for _ in range(3)] == [200, 200, 429]
    answer = limited.call("read")
    assert error_of(answer, 429)["error"] == "TooManyRequests"
    assert int(answer.headers["Retry-After"]) > 0
    assert limited.call("write", {"n": 1}).status_code == 200
    elsewhere = Collection(server, addresses=["192.0.2.0/24"])
    assert elsewhere.refused(403, "read")["error"] == "AddressNotAllowed"
    few = Collection(server, quotas={"documents_per_day": 2})
    few.ok("batchwrite", [{"n": 1}, {"n": 2}])
    assert few.refused(429, "write", {"n": 3})["error"] == "QuotaExceeded"
    assert len(few.documents) == 2


def test_no_log_metric_or_audit_has_a_credential(server: Served) -> None:
    movies = Collection(server).filled()
    movies.refused(400, "readwithquery", {"limit": -1})
    movies.refused(404, "updatewithupsert", {"search query": {"a": 1}, "data": {"b": 1}})
    requests.get(movies.url("read", movies.write), timeout=PATIENCE)
    requests.get(movies.url("read", "dlcr_" + "A" * 64), timeout=PATIENCE)
    # Gateways make an id of what was asked for, and pages ask with one of any address.
    for credential, path in (
        *((movies.read, f"read/{movies.read}/{movies.id}"), (movies.write, f"write/{movies.write}/{movies.id}")),
        *((movies.read, f"nothing/{movies.read}/{movies.id}/x"), (movies.read, f"%72ead/dlcr%5F{movies.read[5:]}/x")),
        *((movies.read, f"read/{movies.id}?token={movies.read}"), (movies.read, f"read/{movies.id}")),
    ):
        url = f"{server.url}/collection/{path}"
        for method, given in product(("GET", "POST", "OPTIONS", "PUT"), (credential, f"/collection/{credential}/x")):
            own = {"X-Request-Id": given, "apiKey": credential, "Origin": "https://a.example"}
            answer = requests.request(method, url, headers=own, timeout=PATIENCE, allow_redirects=False)
            assert credential[5:] not in str(answer.headers) + answer.text, (method, path)
    metrics = requests.get(f"{server.url}/metrics", headers={"apiKey": server.key}, timeout=PATIENCE).text
    assert 'action="connectomeReadwithquery"' in metrics
    audit = server.audit.read_text()
    assert "createCollectionCredential" in audit
    assert movies.ids["write"] in audit
    for text in (server.output(), metrics, audit):
        assert "connectome" in text.lower()
        for secret in ("dlcr_", "dlcw_", movies.read[5:], movies.write[5:]):
            assert secret not in text


# --- the command ---


def test_the_command_makes_what_a_running_server_takes(server: Served, request: pytest.FixtureRequest) -> None:
    if "mongo" in request.node.name:
        pytest.skip("the command is the same on every engine")
    folder = str(server.folder)

    def run(*args: str) -> str:
        done = CliRunner().invoke(app, ["connectome", *args, "--data-dir", folder])
        assert done.exit_code == 0, done.output
        return done.stdout

    made = json.loads(run("create", "shop.made", "--json", "--expires", "90d"))
    assert made.keys() >= {"collection_id", "read_credential", "write_credential", "expires", "url"}
    read = f"{server.url}/collection/read/{made['read_credential']}/{made['collection_id']}"
    write = f"{server.url}/collection/write/{made['write_credential']}/{made['collection_id']}"
    assert requests.post(write, json={"n": 1}, timeout=PATIENCE).status_code == 200
    assert len(requests.get(read, timeout=PATIENCE).json()) == 1
    told = run("create", "shop.made", "--kind", "read", "--url", "https://data.example.org/")
    assert made["collection_id"] in told
    assert "https://data.example.org/collection/readwithquery/dlcr_" in told
    for word in ("curl", "import requests", "await fetch"):
        assert word in told
    assert "dlcw_" not in told
    listed = [one for one in json.loads(run("list", "--json")) if one["collection"] == "made"]
    assert [(one["kind"], one["state"]) for one in listed] == [
        ("read", "active"),
        ("write", "active"),
        ("read", "active"),
    ]
    rotated = json.loads(run("rotate", made["ids"]["read"], "--json"))
    assert (rotated["write_credential"], rotated["collection_id"]) == (None, made["collection_id"])
    until_refused(read)
    assert requests.get(read.replace(made["read_credential"], rotated["read_credential"]), timeout=PATIENCE).ok
    assert "is revoked" in run("revoke", made["ids"]["write"])
    until_refused(write.replace("/write/", "/batchwrite/"), "POST")


def until_refused(url: str, method: str = "GET") -> None:
    """Return once ``url`` is refused, which takes no longer than a few seconds on a machine that is idle."""
    until = time.monotonic() + PATIENCE
    while requests.request(method, url, timeout=PATIENCE).status_code != 401:
        assert time.monotonic() < until
        time.sleep(0.1)
