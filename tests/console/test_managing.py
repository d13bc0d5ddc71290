"""The console's pages for administrators: keys, users, rules and why, what happens now, the audit, settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from seen import EMAIL, PASSWORD, Console, fill, insert, look, write
from servers import Doorleaf, start_doorleaf
from shop_app import OWNERS

CLIENT = "/api/client/v2.0/app/any"
RULES = {
    "default": {
        "shop.orders": {
            "roles": [
                {"name": "clerk", "apply_when": {"%%user.custom_data.role": "clerk"}, "read": True, "write": True},
                {
                    "name": "customer",
                    "apply_when": {},
                    "document_filters": {"read": {"buyer": "%%user.id"}, "write": {"buyer": "%%user.id"}},
                    "insert": True,
                    "delete": False,
                    "fields": {"margin": {"read": False, "write": False}},
                    "additional_fields": {"read": True, "write": True},
                },
            ]
        },
        "shop.notes": {"roles": [OWNERS]},
    }
}
SETTINGS = {
    "DOORLEAF_PROVIDERS": "api-key,local-userpass",
    "DOORLEAF_LOGIN_RATE": "",
    "DOORLEAF_RULES": json.dumps(RULES),
    "DOORLEAF_AUDIT_COLLECTION_DAYS": "1",
    "DOORLEAF_CUSTOM_USER_DATA": json.dumps({"database": "shop", "collection": "people", "user_id_field": "owner"}),
}


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """A server with rules and an audit."""
    running = start_doorleaf(tmp_path_factory.mktemp("administration") / "data", env=SETTINGS)
    fill(running)
    insert(running, "shop", "people", [{"_id": 1, "owner": user_of(running), "role": "clerk"}])
    yield running
    running.stop()


def user_of(server: Doorleaf) -> str:
    found = server.call("GET", "/api/admin/v1/users?search=" + EMAIL, headers={"apiKey": server.key}).json
    return str(found["users"][0]["id"])


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_key_from_its_making_to_its_end(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.get_by_role("link", name="Keys", exact=True).click()
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name", exact=True).fill("reports")
    page.get_by_label("Administrator: rules").check()
    page.get_by_label("Databases", exact=True).fill("shop, staging")
    page.get_by_label("Actions", exact=True).fill("read")
    page.get_by_label("Rate", exact=True).fill("often")
    look(console)
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("rate")
    page.get_by_label("Rate", exact=True).fill("1000/second")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret code").inner_text()
    assert secret.startswith("dl_")
    expect(page.locator(".snippet pre")).to_contain_text(secret)
    look(console)
    found = server.call(
        "POST", "/action/find", {"database": "shop", "collection": "orders", "limit": 1}, {"apiKey": secret}
    )
    assert found.status == 200
    page.get_by_role("button", name="I have it").click()

    expect(page.get_by_role("heading", name="reports")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("shop, staging")
    assert secret not in page.content()
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_label("Databases", exact=True)).to_have_value("shop, staging")
    page.get_by_label("Databases", exact=True).fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".facts")).not_to_contain_text("staging")
    expect(page.locator(".facts")).to_contain_text("1000/second")

    page.get_by_role("button", name="Rotate").click()
    page.get_by_label("stays valid").select_option("0")
    page.get_by_role("button", name="Rotate it").click()
    rotated = page.locator(".secret code").inner_text()
    assert rotated != secret
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".facts")).to_contain_text("disabled")
    page.get_by_role("button", name="Enable").click()
    page.get_by_role("button", name="Revoke").click()
    revoke = page.get_by_role("button", name="Revoke it")
    expect(revoke).to_be_disabled()
    page.get_by_label("to confirm").fill("reports")
    revoke.click()
    expect(page.locator(".facts")).to_contain_text("revoked")
    for text in (secret, rotated):
        answer = server.call("POST", "/action/find", {"database": "shop", "collection": "orders"}, {"apiKey": text})
        assert answer.status == 401
    look(console)
    page.get_by_role("button", name="Delete").click()
    page.get_by_label("to confirm").fill("reports")
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="reports")).to_have_count(0)


def test_keys_are_found_and_a_name_may_be_taken(console: Console, server: Doorleaf) -> None:
    for name in ("first-key", "second-key"):
        made = server.call("POST", "/api/admin/v1/keys", {"name": name}, {"apiKey": server.key})
        assert made.status == 201
    page = console.page
    console.go("keys")
    page.get_by_placeholder("Find a key").fill("SECOND")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("row", name="second-key")).to_contain_text("By the rules")
    look(console)
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name", exact=True).fill("first-key")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("exists already")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    console.go("keys", "nobody")
    expect(page.get_by_role("alert")).to_contain_text("APIKeyNotFound")


# --- users -------------------------------------------------------------------------------------------------------


def test_a_user_from_the_making_to_the_end(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("button", name="Create a user").click()
    page.get_by_label("Email", exact=True).fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("AccountNameInUse")
    page.get_by_label("Email", exact=True).fill("eve@example.com")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name="eve@example.com")).to_be_visible()
    body = {"username": "eve@example.com", "password": "correct horse battery"}
    assert server.call("POST", "/auth/providers/local-userpass/login", body).status == 200
    page.get_by_role("button", name="Set the password").click()
    page.get_by_label("New password").fill("x")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("New password").fill("another horse battery")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("Nobody is signed in.")).to_be_visible()
    assert server.call("POST", "/auth/providers/local-userpass/login", body).status == 401
    body["password"] = "another horse battery"
    assert server.call("POST", "/auth/providers/local-userpass/login", body).status == 200
    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".facts")).to_contain_text("disabled")
    assert server.call("POST", "/auth/providers/local-userpass/login", body).status in (401, 403)
    page.get_by_role("button", name="Delete").click()
    page.get_by_label("to confirm").fill("eve@example.com")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()


def test_users_are_found_with_their_custom_data_and_sessions(console: Console, server: Doorleaf) -> None:
    page = console.page
    console.go("users")
    page.get_by_placeholder("A part of an address").fill("nobody at all")
    expect(page.get_by_role("heading", name="Nobody is found")).to_be_visible()
    assert "search=nobody" in page.url
    page.get_by_placeholder("A part of an address").fill("ADA@")
    look(console)
    page.get_by_role("link", name=EMAIL).click()
    expect(page.get_by_label("Custom data")).to_contain_text('"role": "clerk"')
    begun = server.call("POST", "/auth/providers/local-userpass/login", {"username": EMAIL, "password": PASSWORD})
    page.reload()
    row = page.get_by_role("region", name="Sessions").get_by_role("row").nth(1)
    look(console)
    row.get_by_role("button", name="End").click()
    expect(page.get_by_text("The session has ended.")).to_be_visible()
    token = begun.json["refresh_token"]
    assert server.call("POST", "/auth/session", None, {"Authorization": f"Bearer {token}"}).status == 401
    console.go("users", "waiting")
    expect(page.get_by_role("heading", name="Nobody waits")).to_be_visible()


@pytest.fixture(scope="module")
def many(server: Doorleaf) -> None:
    """One user more than a page has; each takes the time of a password."""
    for number in range(51):
        body = {"email": f"many{number}@example.com", "password": "correct horse battery"}
        assert server.call("POST", "/api/admin/v1/users", body, {"apiKey": server.key}).status == 201


@pytest.mark.usefixtures("many")
def test_users_come_in_pages(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.goto(f"{server.url}/console#/users?search=many")
    rows, more = page.get_by_role("row"), page.get_by_role("button", name="Show more")
    expect(rows).to_have_count(51)
    more.click()
    expect(rows).to_have_count(52)
    expect(more).to_have_count(0)
    assert len(set(page.get_by_role("rowheader").all_inner_texts())) == 51
    page.get_by_placeholder("A part of an address").fill("many50@")
    expect(rows).to_have_count(2)
    expect(more).to_have_count(0)


@pytest.mark.usefixtures("many")
def test_a_page_of_users_that_comes_late_is_not_another_lists(console: Console, server: Doorleaf) -> None:
    page = console.page
    held: list[Route] = []
    page.route(re.compile(r"/users\?.*after="), lambda route: held.append(route))
    page.goto(f"{server.url}/console#/users?search=many")
    rows, more = page.get_by_role("row"), page.get_by_role("button", name="Show more")
    expect(rows).to_have_count(51)
    for _ in range(2):  # pressed twice
        with page.expect_request(re.compile("after=")):
            more.click()
    for route in held:
        with page.expect_response(re.compile("after=")) as answered:
            route.continue_()
        answered.value.finished()
    expect(more).to_have_count(0)
    settled(page)
    assert len(page.get_by_role("rowheader").all_inner_texts()) == 51
    page.reload()
    expect(rows).to_have_count(51)
    held.clear()
    with page.expect_request(re.compile("after=")):
        more.click()
    page.get_by_placeholder("A part of an address").fill("many50@")
    expect(rows).to_have_count(2)
    with page.expect_response(re.compile("after=")) as answered:
        held[0].fulfill(status=500, json={"error": "it broke", "error_code": "InternalServerError"})
    answered.value.finished()
    settled(page)
    expect(rows).to_have_count(2)
    assert (more.count(), page.get_by_role("alert").count()) == (0, 0)
    page.unroute_all()


def settled(page: Page) -> None:
    """Wait until what has come is shown."""
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done))))")


def test_who_waits_is_confirmed(console: Console, server: Doorleaf) -> None:
    body = {"email": "new@example.com", "password": "correct horse battery"}
    registered = server.call("POST", f"{CLIENT}/auth/providers/local-userpass/register", body)
    assert registered.status == 201, registered.body
    login = {"username": body["email"], "password": body["password"]}
    assert server.call("POST", "/auth/providers/local-userpass/login", login).status == 401
    page = console.page
    console.go("users", "waiting")
    expect(page.get_by_role("row", name="new@example.com")).to_be_visible()
    look(console)
    page.get_by_role("button", name="Confirm new@example.com").click()
    expect(page.get_by_role("heading", name="Nobody waits")).to_be_visible()
    assert server.call("POST", "/auth/providers/local-userpass/login", login).status == 200


def test_who_is_no_administrator_is_told_so(page: Page, server: Doorleaf) -> None:
    page.goto(f"{server.url}/console#/keys")
    page.get_by_role("radio", name="Email and password").click()
    page.get_by_label("Email", exact=True).fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Keys are for administrators")).to_be_visible()
    expect(page.get_by_role("navigation", name="Sections").get_by_role("link", name="Keys")).to_have_count(0)
    Console(page, server).check_access()
    console = Console(page, server)
    console.go("users")
    expect(page.get_by_role("heading", name=re.compile("for administrators"))).to_be_visible()


# --- rules -------------------------------------------------------------------------------------------------------


def test_who_may_what_is_a_table(console: Console) -> None:
    page = console.page
    page.get_by_role("link", name="Rules", exact=True).click()
    clerk, customer = page.get_by_role("row", name="clerk"), page.get_by_role("row", name="customer")
    expect(clerk).to_contain_text("if")
    expect(customer).to_contain_text("by field")
    expect(customer).to_contain_text("margin")
    expect(page.get_by_role("rowheader", name="shop.orders")).to_be_visible()
    customer.locator("summary").first.click()
    expect(customer.locator("pre").first).to_contain_text("%%user.id")
    look(console)
    page.get_by_placeholder("Find a collection").fill("notes")
    expect(clerk).to_have_count(0)
    expect(page.get_by_role("rowheader", name="shop.notes")).to_be_visible()


def test_rules_are_judged_while_they_are_typed(console: Console) -> None:
    page = console.page
    console.go("rules", "check")
    expect(page.get_by_text("The server takes them.")).to_be_visible()
    page.get_by_label("Begin with").select_option("default shop.orders")
    expect(page.get_by_text("Roles: clerk, customer.")).to_be_visible()
    expect(page.get_by_text("data_sources/default/shop/orders/rules.json")).to_be_visible()
    expect(page.get_by_text("Nothing is different.")).to_be_visible()
    changed = json.dumps(RULES["default"]["shop.orders"]).replace('"delete": false', '"delete": true')
    write(console, "Rules", changed)
    expect(page.locator(".changes dt")).to_have_text("rules › roles › 1 › delete")
    expect(page.locator(".changes dd.becomes")).to_contain_text("true")
    look(console)
    write(console, "Rules", '{"roles": [{"name": "a", "aply_when": {}}]}')
    expect(page.get_by_role("status").filter(has_text="unknown key")).to_contain_text("rules.roles[0]")
    write(console, "Rules", '{"roles": [\n  {"name": }\n]}')
    expect(page.get_by_text("Line 2, column 12")).to_be_visible()
    expect(page.get_by_text("The server takes them.")).to_have_count(0)
    look(console)


def test_why_a_request_is_allowed_or_refused(console: Console, server: Doorleaf) -> None:
    page = console.page
    insert(server, "shop", "orders", [{"_id": "of nobody", "buyer": "nobody", "margin": 5}])
    console.go("rules")
    page.get_by_role("row", name="clerk").get_by_role("link", name="Why?").click()
    expect(page.get_by_label("Collection", exact=True)).to_have_value("orders")
    page.get_by_label("Who asks").fill('{"id": "somebody"')
    page.get_by_role("button", name="Ask why").click()
    expect(page.get_by_text("Line 1, column")).to_be_visible()
    page.get_by_label("Who asks").fill('{"id": "somebody"}')
    page.get_by_label("Or fetch").fill("nothing")
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_role("alert")).to_contain_text("No document")
    page.get_by_label("Or fetch").fill("of nobody")
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_label("A stored document")).to_contain_text("margin")
    page.get_by_role("button", name="Ask why").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("Allowed: find on shop.orders by somebody")
    expect(answer.get_by_label("Added to the query")).to_contain_text('"buyer"')
    expect(answer.locator(".badge.warn")).to_contain_text("margin")
    expect(answer).to_contain_text("The role customer")
    expect(answer.locator(".facts")).to_contain_text("Visibleno")
    look(console)
    link = page.url
    page.get_by_label("Action").select_option("runCommand")
    page.get_by_role("button", name="Ask why").click()
    expect(answer).to_contain_text("Refused: runCommand")
    expect(answer).to_contain_text("no rule exists for namespace")
    page.get_by_label("Action").select_option("find")
    page.get_by_label("Collection", exact=True).fill("elsewhere")
    page.get_by_role("button", name="Ask why").click()
    expect(answer).to_contain_text("NoMatchingRuleFound")
    page.goto(link)
    page.reload()
    expect(answer).to_contain_text("Allowed: find on shop.orders")
    page.get_by_label("Who asks").fill("nobody at all")
    page.get_by_role("button", name="Ask why").click()
    expect(page.get_by_role("alert")).to_contain_text("UserNotFound")


# --- now ---------------------------------------------------------------------------------------------------------


def test_what_happens_now_is_seen_while_it_happens(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.get_by_role("link", name="Now", exact=True).click()
    server.call("POST", "/action/find", {"database": "shop", "collection": "orders"}, {"apiKey": "dl_wrong"})
    expect(page.locator(".tiles")).to_contain_text("ready")
    expect(page.locator(".tiles")).to_contain_text("95 of 100 within")
    refused = page.get_by_role("region", name="Refused")
    expect(refused.get_by_role("row", name="find").first).to_contain_text("InvalidSession")
    expect(page.get_by_role("region", name="Busiest callers")).to_contain_text("DATA_API_KEY")
    expect(page.locator(".chart canvas")).to_have_count(4)
    assert "dl_wrong" not in page.content()
    look(console)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Paused", exact=True)).to_have_count(0)


def test_the_audit_is_read_with_filters(console: Console, server: Doorleaf) -> None:
    made = server.call("POST", "/api/admin/v1/keys", {"name": "audited"}, {"apiKey": server.key})
    assert made.status == 201
    page = console.page
    console.go("now")
    page.get_by_role("link", name="Audit").click()
    page.get_by_label("About").fill("audited")
    filter = page.get_by_role("button", name="Filter")
    filter.click()
    row = page.get_by_role("row", name=re.compile("createKey.*audited"))
    while row.count() == 0:  # it is written about every second
        filter.click()
        console.go("now", "audit", query="?target=audited&again=" + str(page.evaluate("performance.now()")))
        page.wait_for_load_state("networkidle")
    expect(row).to_contain_text("audited")
    expect(page.get_by_role("row")).to_have_count(2)
    look(console)
    page.get_by_label("Outcome").select_option("failed")
    filter.click()
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    assert "outcome=failed" in page.url


def test_settings_are_told_without_secrets(console: Console, server: Doorleaf) -> None:
    page = console.page
    console.go("now", "settings")
    page.get_by_label("Only those that are set").check()
    row = page.get_by_role("row", name="data_api_key")
    expect(row).to_contain_text("***")
    expect(row).to_contain_text("environment DATA_API_KEY")
    expect(page.get_by_role("row", name="max_documents")).to_have_count(0)
    assert server.key not in page.content()
    look(console)
    page.get_by_placeholder("A name or a word").fill("audit")
    expect(page.get_by_role("row")).to_have_count(2)


# --- workspaces --------------------------------------------------------------------------------------------------


def test_a_workspace_from_its_making_to_its_end(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.get_by_role("link", name="Workspaces", exact=True).click()
    expect(page.get_by_role("heading", name="There are no tenants")).to_be_visible()
    page.get_by_role("button", name="Make a tenant").click()
    page.get_by_label("Name", exact=True).fill("Acme")
    page.get_by_label("Id", exact=True).fill("acme")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="Acme")).to_be_visible()
    page.get_by_role("button", name="Make a workspace").click()
    page.get_by_label("Id", exact=True).fill("no id, but words")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("id")
    page.get_by_label("Id", exact=True).fill("acme-orders")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="acme-orders")).to_be_visible()
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_label("Documents", exact=True).fill("10")
    page.get_by_role("checkbox", name="realtime").uncheck()
    page.get_by_role("button", name="Save", exact=True).click()
    facts = page.locator(".facts")
    expect(facts).to_contain_text("documents 10")
    expect(facts).not_to_contain_text("realtime")
    page.get_by_role("button", name="Add a member").click()
    page.get_by_label("The user's id").fill(user_of(server))
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_role("region", name="Members")).to_contain_text("mongo:read")
    page.get_by_role("button", name=f"Remove {user_of(server)}").click()
    expect(page.get_by_role("region", name="Members")).to_have_count(0)
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret code").inner_text()
    assert secret.startswith("dlw_")
    look(console)

    def status() -> int:
        shown = {"Authorization": f"Bearer {secret}", "X-API-Version": "2024-01-01"}
        return server.call("GET", "/v1/mongo/acme-orders/collections", headers=shown).status

    assert status() == 200
    page.get_by_role("button", name="I have it").click()
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke shop").click()
    page.get_by_label("to confirm").fill("shop")
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_role("row", name="shop")).to_contain_text("revoked")
    assert status() == 401
    page.get_by_role("button", name="Make a token").click()
    page.get_by_label("Good for").fill("5")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("seconds")
    page.get_by_label("Good for").fill("600")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret code").inner_text()
    assert status() == 200
    page.get_by_role("button", name="I have it").click()
    look(console)
    page.get_by_role("button", name="Forget").click()
    page.get_by_label("to confirm").fill("acme-orders")
    page.get_by_role("button", name="Forget it").click()
    page.get_by_role("button", name="Forget acme").click()
    page.get_by_label("to confirm").fill("acme")
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("heading", name="There are no tenants")).to_be_visible()
    assert status() in (401, 404)
