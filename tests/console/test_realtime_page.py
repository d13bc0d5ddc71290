"""A page in a browser that listens to a workspace: by EventSource, and by WebSocket with a ticket."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import PATIENCE_MS
from playwright.sync_api import Browser, expect
from servers import Doorleaf, start_doorleaf

PAGE = """<!doctype html><meta charset=utf-8><title>Orders</title><ul id=sse></ul><ul id=ws></ul><p id=state></p>
<script>
const {base, token} = JSON.parse(decodeURIComponent(location.hash.slice(1)))
const show = (list, event) => {
  const item = document.createElement('li')
  item.textContent = `${event.operation} ${event.document.name}`
  document.getElementById(list).append(item)
}
const source = new EventSource(`${base}/v1/mongo/shop/collections/orders/changes?token=${token}`)
source.onmessage = message => show('sse', JSON.parse(message.data))
const heard = new Promise(resolve => { source.onopen = resolve })
const connect = async () => {
  const headers = {Authorization: `Bearer ${token}`}
  const answer = await fetch(`${base}/v1/mongo/shop/realtime/tickets`, {method: 'POST', headers})
  const {ticket} = await answer.json()
  const socket = new WebSocket(`${base.replace('http', 'ws')}/workspaces/shop/realtime/connect?ticket=${ticket}`)
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject })
  await new Promise(resolve => {
    socket.onmessage = message => {
      const frame = JSON.parse(message.data)
      frame.type === 'event' ? show('ws', frame) : resolve()
    }
    socket.send(JSON.stringify({type: 'subscribe', channel: 'mongo:orders', requestId: 1}))
  })
  await heard
  document.getElementById('state').textContent = 'listening'
}
connect().catch(error => { document.getElementById('state').textContent = String(error) })
</script>"""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the page is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def shop(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "settings.toml").write_text(f"cors_origins = {json.dumps([origin])}\n")
    running = start_doorleaf(folder / "data", "--config", str(folder / "settings.toml"))
    yield running
    running.stop()


def asked(server: Doorleaf, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
    answer = server.call(method, path, body, headers)
    assert answer.status in (200, 201), answer.body
    return answer.json


def test_a_page_shows_events_of_both_kinds(browser: Browser, origin: str, shop: Doorleaf) -> None:
    admin = {"apiKey": shop.key}
    asked(shop, "POST", "/api/admin/v1/tenants", {"name": "Acme", "id": "acme"}, admin)
    asked(shop, "POST", "/api/admin/v1/workspaces", {"tenant": "acme", "id": "shop"}, admin)
    scopes = ["mongo:write", "mongo:read", "realtime:read"]
    token = asked(shop, "POST", "/api/admin/v1/workspaces/shop/token", {"scopes": scopes}, admin)["token"]
    headers = {"Authorization": f"Bearer {token}"}
    with browser.new_context() as context:
        page = context.new_page()
        expect.set_options(timeout=PATIENCE_MS)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{origin}/#{json.dumps({'base': shop.url, 'token': token})}")
        expect(page.locator("#state")).to_have_text("listening")
        orders = "/v1/mongo/shop/collections/orders/documents"
        asked(shop, "POST", orders, {"_id": "a", "name": "Ada <b>"}, headers)
        asked(shop, "PATCH", f"{orders}/a", {"$set": {"name": "Bo"}}, headers)
        asked(shop, "DELETE", f"{orders}/a", None, headers)
        for list_ in ("#sse", "#ws"):
            expect(page.locator(f"{list_} li")).to_have_text(["INSERT Ada <b>", "UPDATE Bo", "DELETE Bo"])
        assert wrong == []
