# ruff: noqa: E501  # a function is a line
"""Requests of packages from npm, unchanged, and of ``require("http")``: the server sends them, with all its checks."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import installed
import pytest
from shop_app import write

from doorleaf import __version__
from doorleaf.access.callers import SYSTEM, Identity
from doorleaf.errors import FunctionFailed
from doorleaf.functions.call import AT_ONCE
from doorleaf.functions.outgoing import Outgoing
from doorleaf.functions.runtime import Functions
from doorleaf.settings.model import Settings

PACKAGES = (
    "axios@1.7.9", "axios-0.27@npm:axios@0.27.2", "axios-0.21@npm:axios@0.21.4", "stripe@17.5.0", "node-fetch@2.7.0",
    "form-data@4.0.1",
)  # fmt: skip
OLD_AXIOS = """async (url) => {
  const axios = require(%r), told = [];
  const { status, data } = await axios.post(url + '/a', { n: 1 }, { headers: { 'X-Key': 'k' } });
  told.push(status, data.method, data.body, data.headers['x-key']);
  for (const path of ['/gzip', '/to?/moved']) told.push((await axios.get(url + path)).data.path);
  try { await axios.get(url + '/slow', { timeout: 50 }) } catch (error) { told.push(error.code) }
  try { await axios.get(url + '/status404') } catch (error) { told.push(error.response.status) }
  return told;
}"""
FUNCTIONS = {
    "plain": """(url) => new Promise((done, failed) => {
      const told = [], asking = require('http').request(`${url}/x?y=1`, { method: 'POST', headers: { 'X-One': '1', 'Accept-Encoding': 'br;q=1, gzip;q=0.8, compress' } }, (got) => {
        let all = '';
        got.setEncoding('utf8');
        got.on('data', (piece) => { all += piece });
        got.on('end', () => done([told, got.statusCode, got.statusMessage, got.headers['set-cookie'], got.headers['x-twice'], got.rawHeaders.filter((one) => one === 'X-Twice').length, JSON.parse(all)]));
      });
      for (const name of ['socket', 'finish', 'response']) asking.on(name, () => told.push(name));
      asking.on('error', failed);
      asking.setHeader('X-Two', ['2', '3']);
      asking.write('he');
      asking.end('llo');
    })""",
    "ended": """async (url) => {
      const { get, request } = require('http'), told = [];
      const end = (asking) => new Promise((done) => { const seen = []; for (const name of ['timeout', 'abort', 'response', 'error', 'close']) asking.on(name, (one) => { seen.push(name === 'error' ? one.code ?? one.message : name); if (name === 'close') done(seen) }) });
      const late = get(`${url}/slow`);
      late.setTimeout(20, () => late.destroy());
      told.push(await end(late));
      const given = request({ host: 'localhost', port: new URL(url).port, path: '/slow', timeout: 20 }).end();
      given.once('timeout', () => given.destroy(new Error('late')));
      told.push(await end(given));
      const left = get(`${url}/slow`);
      setTimeout(() => left.abort(), 20);
      told.push(await end(left), left.aborted, left.destroyed);
      const nobody = get(`${url}/a`);
      told.push(await new Promise((done) => nobody.on('close', () => done('read to its end'))));
      told.push(await end(get('http://localhost:1/')), await end(get('http://nobody.invalid/')), await end(get('http://127.0.0.1:1/')));
      return told;
    }""",
    "axios": """async (url) => {
      const axios = require('axios'), told = [], fails = async (work) => { try { await work } catch (error) { return error } };
      const { status, data, headers } = await axios.post(`${url}/a`, { n: 1 }, { params: { q: 'a b' }, auth: { username: 'u', password: 'p' } });
      told.push([status, data.path, data.body, data.headers.authorization, data.headers['content-type'], headers['x-twice'], headers['set-cookie']]);
      for (const path of ['/gzip', '/deflate', '/to?/moved']) told.push((await axios.get(url + path)).data.path);
      const lost = await fails(axios.get(`${url}/status404`)), late = await fails(axios.get(`${url}/slow`, { timeout: 50 })), shut = await fails(axios.get('https://example.com/'));
      told.push([lost.name, lost.code, lost.response.status], late.code, [shut.code, shut.message]);
      const source = axios.CancelToken.source(), asking = axios.get(`${url}/slow`, { cancelToken: source.token });
      source.cancel('no');
      told.push(axios.isCancel(await fails(asking)));
      told.push((await axios.get(`${url}/bytes`, { responseType: 'arraybuffer' })).data.length, (await axios.create({ baseURL: url }).put('/p', 'text')).data.body);
      told.push((await axios.get(`${url}/to?/moved`, { maxRedirects: 0, validateStatus: null })).status);
      let size = 0;
      for await (const piece of (await axios.get(`${url}/bytes`, { responseType: 'stream' })).data) size += piece.length;
      return [...told, size, (await axios.get(`${url}/seen`, { onDownloadProgress() {} })).data.path];
    }""",
    "axios_027": OLD_AXIOS % "axios-0.27",
    "axios_021": OLD_AXIOS % "axios-0.21",
    "fetch": """async (url) => {
      const fetch = require('node-fetch'), told = [], get = async (path, given) => (await fetch(url + path, given)).json();
      const { method, body, headers } = await get('/a', { method: 'POST', body: 'hé', headers: { 'X-Key': 'k' } });
      told.push(method, body, headers['x-key'], headers['content-type']);
      for (const path of ['/gzip', '/deflate', '/to?/moved']) told.push((await get(path)).path);
      told.push((await (await fetch(`${url}/bytes`)).buffer()).length, (await get('/f', { method: 'POST', body: new URLSearchParams({ a: 'b c' }) })).body);
      for (const [place, given] of [[`${url}/slow`, { timeout: 50 }], ['https://example.com']]) try { await fetch(place, given) } catch (error) { told.push(error.type) }
      const got = await fetch(`${url}/status402`);
      return [...told, got.status, got.ok, got.headers.raw()['set-cookie']];
    }""",
    "form": """async (url) => {
      const FormData = require('form-data'), axios = require('axios'), fetch = require('node-fetch'), told = [];
      const made = () => { const form = new FormData(); form.append('a', '1'); form.append('file', Buffer.from('content'), { filename: 'x.txt' }); return form };
      const first = made(), second = made(), third = made();
      told.push((await axios.post(`${url}/f`, first, { headers: first.getHeaders() })).data, await (await fetch(`${url}/f`, { method: 'POST', body: second, headers: second.getHeaders() })).json());
      told.push(await new Promise((done, failed) => third.submit(`${url}/f`, (error, got) => { if (error) return failed(error); let all = ''; got.on('data', (piece) => { all += piece }).on('end', () => done(JSON.parse(all))) })));
      return [told.map(({ body, headers }) => [body.includes('content'), body.includes('filename="x.txt"'), headers['content-type'].split(';')[0]]), made().getBuffer().includes('content')];
    }""",
    "stripe": """async (url) => {
      const stripe = new (require('stripe'))('sk_test_x', { host: 'localhost', port: Number(new URL(url).port), protocol: 'http', maxNetworkRetries: 0 }), told = [];
      const { method, path, body, headers, lastResponse } = await stripe.customers.create({ email: 'a@b.c', metadata: { k: 'v' } });
      told.push(method, path, body, headers.authorization, lastResponse.statusCode);
      const payload = JSON.stringify({ id: 'evt', object: 'event' }), header = stripe.webhooks.generateTestHeaderString({ payload, secret: 'whsec' });
      told.push(stripe.webhooks.constructEvent(payload, header, 'whsec').id);
      try { stripe.webhooks.constructEvent(payload, header, 'other') } catch (error) { told.push(error.type) }
      try { await new (require('stripe'))('sk_test_x', { maxNetworkRetries: 0 }).balance.retrieve() } catch (error) { told.push(error.type, error.detail.code) }
      return told;
    }""",
    "many": """async (url) => {
      const axios = require('axios'), asked = Array.from({ length: 40 }, () => axios.get(`${url}/many`));
      return (await Promise.all(asked)).every((one) => one.status === 200);
    }""",
    "zlib": """async () => {
      const zlib = require('zlib'), text = 'text '.repeat(1000), told = [];
      for (const [pack, unpack] of [['gzip', 'gunzip'], ['deflate', 'inflate'], ['deflateRaw', 'inflateRaw'], ['gzip', 'unzip'], ['deflate', 'unzip']]) {
        const packed = zlib[`${pack}Sync`](text);
        told.push(packed.length < 100 && zlib[`${unpack}Sync`](packed).toString() === text);
      }
      const gzipped = await new Promise((done, failed) => zlib.gzip(text, (error, made) => (error ? failed(error) : done(made))));
      told.push(zlib.gunzipSync(Buffer.concat([gzipped, gzipped])).length);
      for (const bad of [Buffer.from('none of this'), gzipped.subarray(0, 20), zlib.gzipSync('x'.repeat(700 * 1024)).subarray(0, -9)]) try { told.push(zlib.gunzipSync(bad).length) } catch (error) { told.push(error.message) }
      const part = zlib.gzipSync(Buffer.alloc(512 * 1024)), many = Buffer.concat(Array.from({ length: 40 }, () => part));
      try { told.push(zlib.gunzipSync(many).length) } catch (error) { told.push(error.message) }
      return told;
    }""",
}  # fmt: skip


SIGNALS = """async (url) => {
  const axios = require('axios'), nodeFetch = require('node-fetch'), http = require('http'), told = {};
  const node = (place, given, then = () => {}) => new Promise((done, failed) => then(http.get(place, given, done).on('error', failed)));
  const ways = {
    fetch: (place, signal) => fetch(place, { signal }),
    context: (place, signal) => context.http.get({ url: place, signal }),
    axios: (place, signal) => axios.get(place, { signal }),
    'node-fetch': (place, signal) => nodeFetch(place, { signal }),
    http: (place, signal) => node(place, { signal }),
    destroy: (place, signal) => node(place, {}, (asking) => signal.addEventListener('abort', () => asking.destroy())),
    abort: (place, signal) => node(place, {}, (asking) => signal.addEventListener('abort', () => asking.abort())),
  };
  const fails = async (work) => { try { return (await work).status } catch (error) { return [error.name, error.code ?? error.type ?? error.message] } };
  for (const name in ways) {
    const controller = new AbortController(), asking = fails(ways[name](`${url}/held?${name}`, controller.signal));
    await fetch(`${url}/came?${name}`);
    controller.abort();
    told[name] = await asking;
    await fetch(`${url}/left?${name}`);
  }
  const early = new AbortController(), late = new AbortController(), never = [fetch(`${url}/held?early`, { signal: early.signal }), fetch(`${url}/held?early`, { signal: AbortSignal.abort('why') })];
  early.abort(5);
  told.early = await Promise.all(never.map((one) => one.catch((reason) => reason)));
  told.timeout = await fails(fetch(`${url}/held?timeout`, { signal: AbortSignal.any([late.signal, AbortSignal.timeout(1000)]) }));
  await fetch(`${url}/left?timeout`);
  told.answered = await fails(fetch(`${url}/a`, { signal: late.signal }));
  late.abort();
  try { await fetch(`${url}/a`, { signal: 5 }) } catch (error) { told.wrong = error.message }
  return told;
}"""
FUNCTIONS["signals"] = SIGNALS


class Crowd:
    """How many are there at once: each stays until there are as many as may be, and a moment longer."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.full = threading.Event()
        self.lock = threading.Lock()

    def come(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now >= AT_ONCE:
                self.full.set()
        self.full.wait(60)
        time.sleep(0.2)
        with self.lock:
            self.now -= 1


class Server(ThreadingHTTPServer):
    request_queue_size = 100


class Other(BaseHTTPRequestHandler):
    """Answers with what it was asked; ``/to?URL`` redirects, ``/slow`` waits until the tests are over, ``/held?NAME`` until
    its client has left, and ``/came?NAME`` and ``/left?NAME`` until that one has."""

    crowd = Crowd()
    seen: set[str] = set()
    change = threading.Condition()

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        path, _, query = self.path.partition("?")
        if path == "/slow":
            self.over.wait(60)
        elif path == "/many":
            self.crowd.come()
        elif path == "/held":
            self.see(f"/came?{query}")
            self.connection.recv(1)
            self.see(f"/left?{query}")
        elif path in ("/came", "/left"):
            with self.change:
                self.change.wait_for(lambda: self.path in self.seen, 60)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"method": self.command, "path": self.path, "headers": headers, "body": content}
        body, more = json.dumps(told).encode(), [("Content-Type", "application/json")]
        if path == "/gzip":
            body, more = gzip.compress(body), [("Content-Encoding", "gzip")]
        elif path == "/deflate":
            body, more = zlib.compress(body), [("Content-Encoding", "deflate")]
        elif path == "/bytes":
            body = bytes(range(256))
        elif path == "/to":
            body, more = b"", [("Location", query)]
        self.send_response(302 if path == "/to" else int(path.partition("status")[2] or 200))
        for name, value in (*more, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Twice", "1"), ("X-Twice", "2")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def see(self, what: str) -> None:
        with self.change:
            self.seen.add(what)
            self.change.notify_all()

    def log_message(self, *args: Any) -> None:
        pass


class NoSecrets:
    async def all(self) -> dict[str, str]:
        return {}


async def acting(identity: Identity | None, who: str) -> Identity:
    return SYSTEM


@pytest.fixture(scope="module")
def answers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each function answers, all called at once; an error where it failed."""
    modules = installed.npm(pytestconfig, tmp_path_factory, "packages-of-requests", *PACKAGES)
    folder: Path = tmp_path_factory.mktemp("requests")
    write(folder / "app", {
        "root_config.json": {"app_id": "requests-abcde", "name": "requests"},
        "functions/config.json": [{"name": name} for name in FUNCTIONS],
        **{f"functions/{name}.js": f"exports = {source}" for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    (folder / "app" / "functions" / "node_modules").symlink_to(modules / "node_modules")
    settings = Settings(app=folder / "app", data_dir=folder / "data", functions_processes=2)

    async def work(url: str) -> list[Any]:
        secrets, nothing = cast(Any, NoSecrets()), cast(Any, None)
        functions = Functions(
            settings, database=nothing, secrets=secrets, acting=acting, identify=nothing, caller=lambda *_: {}
        )
        functions.outgoing = Outgoing(["localhost", "nobody.invalid"], lambda address: address in ("127.0.0.1", "::1"))
        await functions.start(watches=False)
        try:
            calls = [functions.run(name, [url], SYSTEM) for name in FUNCTIONS]
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            Other.over.set()
            await functions.stop()

    Other.over.clear()
    with Server(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = asyncio.run(work(f"http://localhost:{server.server_address[1]}"))
        server.shutdown()
    return dict(zip(FUNCTIONS, found, strict=True))


def told(answers: dict[str, Any], name: str) -> Any:
    answer = answers[name]
    if isinstance(answer, FunctionFailed):
        raise AssertionError(f"{answer.message}\n{answer.stack}")
    assert not isinstance(answer, BaseException), answer
    return answer


TWICE = [["a=1", "b=2"], "1, 2"]
NOT_ALLOWED = "the setting functions_http_allow does not have example.com"


def test_a_request_of_node(answers: dict[str, Any]) -> None:
    *rest, echo = told(answers, "plain")
    assert rest == [["socket", "finish", "response"], 200, "OK", *TWICE, 2]
    assert (echo["method"], echo["path"], echo["body"]) == ("POST", "/x?y=1", "hello")
    own = {"user-agent": f"doorleaf/{__version__}", "accept-encoding": "gzip;q=0.8"}
    assert echo["headers"].items() >= {"x-one": "1", "x-two": "3", "content-length": "5", **own}.items()


def test_a_request_ends_in_any_way(answers: dict[str, Any]) -> None:
    hung, late, left, aborted, destroyed, nobody, *failed = told(answers, "ended")
    assert hung == ["timeout", "ECONNRESET", "close"]
    assert late == ["timeout", "late", "close"]
    assert left == ["abort", "ECONNRESET", "close"]
    assert (aborted, destroyed, nobody) == (True, True, "read to its end")
    assert failed == [["ECONNREFUSED", "close"], ["ENOTFOUND", "close"], ["EACCES", "close"]]


def test_a_signal_ends_a_request_in_the_server_too(answers: dict[str, Any]) -> None:
    aborted = ["AbortError", 20]
    assert told(answers, "signals") == {
        "fetch": aborted, "context": aborted, "axios": ["CanceledError", "ERR_CANCELED"], "node-fetch": ["AbortError", "aborted"],
        "http": ["AbortError", "ABORT_ERR"], "destroy": ["Error", "ECONNRESET"], "abort": ["Error", "ECONNRESET"],
        "early": [5, "why"], "timeout": ["TimeoutError", 23], "answered": 200, "wrong": "signal: expected an AbortSignal",
    }  # fmt: skip
    assert {"/came?fetch", "/left?fetch", "/left?axios", "/left?timeout"} <= Other.seen


def test_axios(answers: dict[str, Any]) -> None:
    assert told(answers, "axios") == [
        [200, "/a?q=a+b", '{"n":1}', "Basic dTpw", "application/json", "1, 2", ["a=1", "b=2"]],
        "/gzip", "/deflate", "/moved", ["AxiosError", "ERR_BAD_REQUEST", 404], "ECONNABORTED", ["EACCES", NOT_ALLOWED],
        True, 256, "text", 302, 256, "/seen",
    ]  # fmt: skip
    for name in ("axios_027", "axios_021"):
        expected = [200, "POST", '{"n":1}', "k", "/gzip", "/moved", "ECONNABORTED", 404]
        assert told(answers, name) == expected


def test_node_fetch(answers: dict[str, Any]) -> None:
    assert told(answers, "fetch") == [
        "POST", "hé", "k", "text/plain;charset=UTF-8", "/gzip", "/deflate", "/moved", 256, "a=b+c", "request-timeout",
        "system", 402, False, ["a=1", "b=2"],
    ]  # fmt: skip


def test_forms(answers: dict[str, Any]) -> None:
    assert told(answers, "form") == [[[True, True, "multipart/form-data"]] * 3, True]


def test_stripe(answers: dict[str, Any]) -> None:
    assert told(answers, "stripe") == [
        "POST", "/v1/customers", "email=a%40b.c&metadata[k]=v", "Bearer sk_test_x", 200, "evt",
        "StripeSignatureVerificationError", "StripeConnectionError", "EACCES",
    ]  # fmt: skip


def test_compressed_data(answers: dict[str, Any]) -> None:
    *good, twice, form, cut, short, much = told(answers, "zlib")
    assert good == [True] * 5
    assert twice == 10_000
    assert form == "zlib.gunzip: the data has another form"
    assert cut == short == "zlib.gunzip: unexpected end of the data"
    assert much == "zlib.gunzip: the data makes more than 16 MiB"


def test_a_call_has_25_requests_on_their_way_at_once_and_the_others_wait(answers: dict[str, Any]) -> None:
    assert told(answers, "many") is True
    assert Other.crowd.most == AT_ONCE == 25
