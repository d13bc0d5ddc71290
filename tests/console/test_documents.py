"""The documents of a collection in the console: asked for, shown, edited with all their types, deleted and put back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from seen import HOSTILE, Console, editor, insert, write

CANONICAL = "application/ejson; mode=canonical"
TYPES: dict[str, Any] = {
    "_id": "all",
    "double": {"$numberDouble": "1.0"},
    "nan": {"$numberDouble": "NaN"},
    "minus": {"$numberDouble": "-0.0"},
    "string": 'text with "quotes" and \u2028',
    "object": {"10": {"$numberInt": "1"}, "2": {"$numberInt": "2"}, "__proto__": {"$numberInt": "3"}},
    "array": [{"$numberInt": "1"}, {"b": [{"$numberInt": "2"}]}],
    "binary": {"$binary": {"base64": "aGVsbG8=", "subType": "00"}},
    "uuid": {"$binary": {"base64": "Czo/LjoHSsScB24tUtDBqg==", "subType": "04"}},
    "objectId": {"$oid": "64224f3cd79f54ad342dd9b1"},
    "bool": True,
    "date": {"$date": {"$numberLong": "1680105287069"}},
    "old": {"$date": {"$numberLong": "-62135596800001"}},
    "null": None,
    "regex": {"$regularExpression": {"pattern": "^a", "options": "i"}},
    "code": {"$code": "return 1"},
    "int": {"$numberInt": "5"},
    "timestamp": {"$timestamp": {"t": 1, "i": 2}},
    "long": {"$numberLong": "5"},
    "big": {"$numberLong": "9007199254740993"},
    "decimal": {"$numberDecimal": "1.50"},
    "min": {"$minKey": 1},
    "max": {"$maxKey": 1},
}


def stored(console: Console, collection: str, identity: Any) -> Any:
    """The document as it is stored, in canonical Extended JSON."""
    answer = console.server.act(
        "findOne", accept=CANONICAL, database="shop", collection=collection, filter={"_id": identity}
    )
    return answer.json["document"]


def told(console: Console) -> Locator:
    return console.page.locator(".toolbar-count")


@pytest.fixture
def types(console: Console) -> Console:
    console.server.act("deleteMany", database="shop", collection="types", filter={})
    insert(console.server, "shop", "types", [TYPES])
    console.go("data", "default", "shop", "types", query="?view=tree")
    expect(console.page.get_by_role("article", name="Document 1")).to_be_visible()
    return console


def test_a_query_in_the_shells_syntax(console: Console) -> None:
    console.go("data", "default", "shop", "orders")
    expect(told(console)).to_contain_text("100 of 450 documents")
    write(console, "Filter", "{ status: 'shipped', total: { $gt: 600 } }")
    console.page.keyboard.press("Enter")
    expect(told(console)).to_contain_text("16 documents")
    assert "filter=" in console.page.url
    console.page.get_by_role("button", name="Options").click()
    write(console, "Sort", "{ total: -1 }")
    write(console, "Limit", "2")
    console.page.get_by_role("button", name="Find").click()
    expect(told(console)).to_contain_text("2 of 16")
    expect(console.page.locator("tbody tr").first).to_contain_text("447")
    console.check_access()
    console.page.go_back()
    expect(told(console)).to_contain_text("16 documents")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ a: }", "Unexpected token }"),
        ("{ a: 1", "It ends too early"),
        ('{"a": 1,, "b": 2}', "expected a field's name"),
        ("{ a: 9007199254740993 }", 'Write NumberLong("9007199254740993")'),
        ("{ a: ObjectId('x') }", "24 character hex string"),
        ("{ a: nothing() }", "cannot be read"),
        ("[1]", "Expected an object"),
        ("{ $nothing: 1 }", "unknown top level operator"),
    ],
)
def test_what_is_wrong_is_told_where_it_is(console: Console, text: str, message: str) -> None:
    console.go("data", "default", "shop", "orders")
    expect(told(console)).to_contain_text("documents")
    write(console, "Filter", text)
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_role("alert")).to_contain_text(message)
    expect(console.page.locator("tbody tr")).to_have_count(0)


def test_all_documents_come_page_by_page_in_any_order(console: Console) -> None:
    mixed: list[Any] = [
        None,
        1,
        2.5,
        "a",
        {"$oid": "64224f3cd79f54ad342dd9b1"},
        True,
        {"$date": "2020-01-01T00:00:00Z"},
        {"a": 1},
    ]
    documents = [
        {"_id": number, "v": mixed[number % len(mixed)]} if number % 9 else {"_id": number} for number in range(230)
    ]
    insert(console.server, "shop", "mixed", documents)
    for sort, order in (("{v: 1}", (1, 1)), ("{v: -1}", (-1, 1)), ("{v: 1, _id: -1}", (1, -1))):
        console.go("data", "default", "shop", "mixed", query=f"?sort={sort}")
        expect(told(console)).to_contain_text("100 of 230")
        region = console.page.get_by_role("region", name=re.compile("^mixed"))
        for shown in ("200 of 230 documents", "230 documents"):
            region.press("End")
            expect(told(console)).to_have_text(re.compile(f"^{shown}"))
        region.press("End")
        asked = {"sort": {"v": order[0], "_id": order[1]}, "limit": 230}
        whole = console.server.act("find", database="shop", collection="mixed", **asked).json["documents"]
        last = console.page.locator("tbody tr:not(.grid-space)").last
        expect(last.locator("td").nth(1)).to_have_text(str(whole[-1]["_id"]))


def test_every_type_stays_what_it_is(types: Console) -> None:
    page = types.page
    types.check_access()
    page.get_by_role("button", name="Edit document 1").click()
    text = editor(types, "Document").evaluate("element => element.innerText")
    assert '"double": 1.0' in text
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.insert_text(',\n"note": "new"')
    page.get_by_role("button", name="Review changes").click()
    expect(page.locator(".changes > div")).to_have_count(1)
    types.check_access()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.").last).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    now = stored(types, "types", "all")
    assert now == {**TYPES, "note": "new"}
    assert list(now) == [*TYPES, "note"]
    assert list(now["object"]) == ["10", "2", "__proto__"]


def test_a_value_is_edited_where_it_stands(types: Console) -> None:
    page = types.page
    page.get_by_role("button", name="Edit decimal").click()
    page.get_by_label("decimal", exact=True).fill("2.75")
    page.keyboard.press("Enter")
    expect(page.locator(".changes")).to_contain_text("Decimal128")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert stored(types, "types", "all")["decimal"] == {"$numberDecimal": "2.75"}
    page.get_by_role("button", name="Edit int").click()
    page.get_by_label("int", exact=True).fill("many")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No Int32")
    page.get_by_label("Type of int").select_option("string")
    page.get_by_label("int", exact=True).press("Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert stored(types, "types", "all")["int"] == "many"
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_role("article")).to_contain_text("Int32")
    assert stored(types, "types", "all")["int"] == {"$numberInt": "5"}


IN_PLACE: dict[str, tuple[str, Any]] = {
    "double": ("2", {"$numberDouble": "2.0"}),
    "nan": ("Infinity", {"$numberDouble": "Infinity"}),
    "string": ("5", "5"),
    "binary": ('{"$binary": {"base64": "YQ==", "subType": "80"}}', {"$binary": {"base64": "YQ==", "subType": "80"}}),
    "uuid": (
        '{"$uuid": "00112233-4455-6677-8899-aabbccddeeff"}',
        {"$binary": {"base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "04"}},
    ),
    "objectId": ("74224f3cd79f54ad342dd9b1", {"$oid": "74224f3cd79f54ad342dd9b1"}),
    "bool": ("false", False),
    "date": ("2024-02-29T12:00:00Z", {"$date": {"$numberLong": "1709208000000"}}),
    "regex": (
        '{"$regularExpression": {"pattern": "b+", "options": "m"}}',
        {"$regularExpression": {"pattern": "b+", "options": "m"}},
    ),
    "code": ('{"$code": "return 2"}', {"$code": "return 2"}),
    "int": ("-7", {"$numberInt": "-7"}),
    "timestamp": ('{"$timestamp": {"t": 3, "i": 4}}', {"$timestamp": {"t": 3, "i": 4}}),
    "long": ("6", {"$numberLong": "6"}),
    "decimal": ("1.5000", {"$numberDecimal": "1.5000"}),
}


def test_every_type_is_edited_in_place_and_stays_what_it_is(types: Console) -> None:
    page = types.page
    expect(page.get_by_title("Date 2023-03-29T15:54:47.069Z (UTC)")).to_be_visible()
    for name, (text, _) in IN_PLACE.items():
        page.get_by_role("button", name=f"Edit {name}", exact=True).click()
        page.get_by_label(name, exact=True).fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert stored(types, "types", "all") == TYPES | {name: value for name, (_, value) in IN_PLACE.items()}
    now = stored(types, "types", "all")
    page.get_by_role("button", name="Edit uuid", exact=True).click()
    for wrong in ("text", "5", '{"$oid": "64224f3cd79f54ad342dd9b1"}'):
        page.get_by_label("uuid", exact=True).fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("No Binary")
    page.keyboard.press("Escape")
    assert stored(types, "types", "all") == now


def test_the_keys_at_the_ends_are_left_as_they_are_or_become_another_type(types: Console) -> None:
    page = types.page
    for name, kind, text, becomes in (
        ("min", "string", "first", "first"),
        ("max", "objectId", "74224f3cd79f54ad342dd9b1", {"$oid": "74224f3cd79f54ad342dd9b1"}),
    ):
        page.get_by_role("button", name=f"Edit {name}", exact=True).click()
        page.keyboard.press("Enter")
        expect(page.get_by_label(name, exact=True)).to_have_count(0)
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert stored(types, "types", "all")[name] == TYPES[name]
        page.get_by_role("button", name=f"Edit {name}", exact=True).click()
        page.get_by_label(f"Type of {name}").select_option(kind)
        page.get_by_label(name, exact=True).fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert stored(types, "types", "all")[name] == becomes


def test_somebody_elses_change_is_noticed(types: Console) -> None:
    page = types.page
    page.get_by_role("button", name="Edit string").click()
    page.get_by_label("string", exact=True).fill("mine")
    page.keyboard.press("Enter")
    other = types.server.act(
        "updateOne",
        database="shop",
        collection="types",
        filter={"_id": "all"},
        update={"$set": {"string": "theirs", "more": 1}},
    )
    assert other.json["modifiedCount"] == 1
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Somebody changed this document meanwhile.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("theirs")
    assert stored(types, "types", "all")["string"] == "theirs"
    page.get_by_role("button", name="Save on top of theirs").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    now = stored(types, "types", "all")
    assert (now["string"], now["more"]) == ("mine", {"$numberInt": "1"})


def test_insert_clone_delete_and_put_back(types: Console) -> None:
    page = types.page
    page.get_by_role("button", name="Insert", exact=True).click()
    write(types, "Document", '{ _id: "new", when: ISODate("2026-01-31T00:00:00Z"), n: NumberLong("7") }')
    page.get_by_role("dialog").get_by_role("button", name="Insert").click()
    expect(page.get_by_role("article")).to_have_count(2)
    assert stored(types, "types", "new")["n"] == {"$numberLong": "7"}
    page.get_by_role("button", name="Clone document 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Insert").click()
    expect(page.get_by_role("article")).to_have_count(3)
    for number in (1, 2):
        page.get_by_label(f"Select document {number}", exact=True).check()
    page.get_by_role("button", name="Delete 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_role("article")).to_have_count(3)
    assert stored(types, "types", "all") == TYPES
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 documents")
    expect(page.get_by_role("button", name="Delete them")).to_be_disabled()
    page.keyboard.press("Escape")


def test_what_was_done_to_all_that_match_is_taken_back(types: Console) -> None:
    page = types.page
    act = types.server.act
    page.get_by_role("button", name="Update all").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 document of types match. You can undo this for ten seconds.")
    write(types, "Update", "{ $set: { string: 'other', added: 1 }, $unset: { big: '' } }")
    page.get_by_label("to confirm").fill("types")
    page.get_by_role("button", name="Update them").click()
    expect(page.get_by_text("1 document changed.")).to_be_visible()
    assert stored(types, "types", "all")["added"] == {"$numberInt": "1"}
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("1 document is what it was.")).to_be_visible()
    back = stored(types, "types", "all")
    assert {name: back[name] for name in TYPES} == TYPES
    assert "added" not in back
    page.get_by_role("button", name="Update all").click()
    write(types, "Update", "{ $set: { string: 'mine' } }")
    page.get_by_label("to confirm").fill("types")
    page.get_by_role("button", name="Update them").click()
    expect(page.get_by_text("1 document changed.")).to_be_visible()  # the news of other tests may offer an undo still
    undo = page.get_by_role("button", name="Undo").last
    act("updateOne", database="shop", collection="types", filter={}, update={"$set": {"string": "theirs"}})
    undo.click()
    expect(page.get_by_text("0 documents are what they were. 1 was changed by somebody since")).to_be_visible()
    assert stored(types, "types", "all")["string"] == "theirs"
    page.get_by_role("button", name="Delete all").click()
    page.get_by_label("to confirm").fill("types")
    page.get_by_role("button", name="Delete them").click()
    expect(page.get_by_role("heading", name="No documents")).to_be_visible()
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_role("article")).to_have_count(1)
    assert stored(types, "types", "all") == back | {"string": "theirs"}


def test_what_is_hostile_is_text(console: Console) -> None:
    for view in ("table", "json", "tree"):
        console.go("data", "default", "hostile", HOSTILE, query=f"?view={view}")
        expect(console.page.get_by_role("main")).to_contain_text("a.b")
        assert console.page.evaluate("document.querySelectorAll('img, b').length") == 0
    console.page.get_by_role("button", name="Edit a.b").click()
    console.page.get_by_label("a.b", exact=True).fill("<b>changed</b>")
    console.page.keyboard.press("Enter")
    console.page.get_by_role("button", name="Save", exact=True).click()
    expect(console.page.get_by_role("dialog")).to_have_count(0)
    answer = console.server.act("find", database="hostile", collection=HOSTILE)
    assert answer.json["documents"] == [
        {"_id": HOSTILE, "a.b": "<b>changed</b>", "$c": 1, "": 2, "\u202ertl": "\u202e<b>x</b>"}
    ]


def test_explain_and_copy_as(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "orders", query="?filter={_id: {$lt: 10}}")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("dialog")).to_contain_text("Uses the index _id_")
    console.check_access()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Copy as").click()
    expect(page.get_by_label("Program", exact=True)).to_contain_text('"$lt": 10')
    expect(page.get_by_label("Program", exact=True)).to_contain_text("$KEY")
    assert console.server.key not in page.content()
    page.get_by_role("radio", name="Python").click()
    expect(page.get_by_label("Program", exact=True)).to_contain_text("import httpx")
    page.keyboard.press("Escape")


def test_what_is_larger_than_a_request_is_put_back_in_several(console: Console) -> None:
    for number in range(4):
        insert(console.server, "shop", "heavy", [{"_id": number, "text": "x" * 5_000_000}])
    page = console.page
    console.go("data", "default", "shop", "heavy")
    page.get_by_label("Select all that are loaded").check()
    page.get_by_role("button", name="Delete 4").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("4 documents deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("4 documents put back.")).to_be_visible()
    found = console.server.ok(
        "aggregate", database="shop", collection="heavy", pipeline=[{"$project": {"n": {"$strLenCP": "$text"}}}]
    )
    assert [one["n"] for one in found["documents"]] == [5_000_000] * 4
