"""The other views of a collection in the console: pipelines, what documents have in common, and indexes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from seen import Console, editor, insert, write

EVEN = {"even": {"yes": True}}


@pytest.fixture(scope="module", autouse=True)
def parts(signed_in: tuple[Console, list[str]]) -> None:
    documents = [
        {
            "_id": number,
            "kind": "a" if number % 4 else "b",
            "size": number / 2 if number else -900,
            **({} if number % 2 else {"even": {"yes": True}}),
        }
        for number in range(60)
    ]
    insert(signed_in[0].server, "shop", "parts", documents)


def test_a_pipeline_shows_what_comes_out_of_each_stage(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts", "aggregation")
    expect(page.get_by_role("heading", name="A pipeline without stages")).to_be_visible()
    page.get_by_label("Add a stage").select_option("$match")
    write(console, "Body of stage 1", "{ kind: 'b' }")
    first, second = page.get_by_label("Documents after stage 1"), page.get_by_label("Documents after stage 2")
    expect(first).to_contain_text('"kind": "b"')
    expect(first).not_to_contain_text('"kind": "a"')
    page.get_by_label("Add a stage").select_option("$count")
    expect(second).to_contain_text('"count": 15')
    console.check_access()
    page.get_by_role("checkbox", name="Use stage 1").uncheck()
    expect(second).to_contain_text('"count": 60')
    page.get_by_role("checkbox", name="Use stage 1").check()
    write(console, "Body of stage 1", "{ kind: }")
    wrong = page.get_by_role("article", name="Stage 1").get_by_role("alert")
    expect(wrong).to_contain_text("Unexpected token")
    write(console, "Body of stage 1", "{ $nothing: 1 }")
    expect(page.get_by_role("article", name="Stage 1").get_by_role("alert")).to_contain_text(
        "unknown top level operator"
    )
    write(console, "Body of stage 1", "{ kind: 'a' }")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    expect(page.locator(".results")).to_contain_text('"count": 45')
    page.get_by_role("radio", name="Table").check()
    expect(page.get_by_role("region", name="Result as a table").get_by_role("row")).to_have_text(["count", "45"])
    console.check_access()
    page.get_by_role("button", name="Copy as").click()
    expect(page.get_by_label("Program", exact=True)).to_contain_text('"$count": "count"')
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Saved pipelines").click()
    page.get_by_label("Save what is shown as").fill("those of a")
    page.get_by_role("button", name="Save", exact=True).click()
    page.reload()
    expect(second).to_contain_text('"count": 45')
    page.get_by_role("button", name="Remove stage 2").click()
    expect(second).to_have_count(0)
    page.get_by_role("button", name="Saved pipelines").click()
    page.get_by_role("button", name="those of a", exact=True).click()
    expect(second).to_contain_text('"count": 45')


def test_a_pipeline_is_pasted_as_text(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "orders", "aggregation")
    page.get_by_role("button", name="As text").click()
    for wrong, told in (
        ("{ $match: {} }", "A pipeline is an array"),
        ("[{ status: 'open' }]", "Stage 1 is no object"),
        ("[{", ""),
    ):
        write(console, "Pipeline as text", wrong)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(told)
    console.check_access()
    write(console, "Pipeline as text", "[{ $match: { total: { $gte: 600 } } }, { $count: 'many' }]")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("article", name="Stage 2")).to_contain_text('"many": 50')
    page.get_by_role("checkbox", name="Use stage 2").uncheck()
    page.get_by_role("button", name="As text").click()
    text = editor(console, "Pipeline as text")
    expect(text).to_contain_text("$gte")
    expect(text).not_to_contain_text("$count")
    page.keyboard.press("Escape")


def test_a_query_is_saved_taken_and_forgotten(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts", query="?filter={ kind: 'b' }&sort={ _id: -1 }")
    told = page.locator(".toolbar-count")
    expect(told).to_contain_text("15 documents")
    page.get_by_role("button", name="Saved queries").click()
    page.get_by_label("Save what is shown as").fill("all of b")
    console.check_access()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Reset").click()
    expect(told).to_contain_text("60 documents")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Where to").fill("all of b")
    page.keyboard.press("Enter")
    expect(told).to_contain_text("15 documents")
    assert "sort=" in page.url
    page.get_by_role("button", name="Saved queries").click()
    page.get_by_role("button", name="Forget all of b").click()
    expect(page.get_by_role("dialog")).to_contain_text("None yet")
    page.keyboard.press("Escape")
    assert "all of b" not in page.evaluate("JSON.stringify(localStorage)")


def test_columns_are_as_wide_as_somebody_makes_them(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts")
    column = page.get_by_role("columnheader", name="kind")
    edge = page.get_by_role("separator", name="Width of kind")
    before = column.bounding_box()
    edge.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    after = column.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == before["width"] + 48
    box = edge.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 104, box["y"] + 8, steps=3)
    page.mouse.up()
    expect(edge).to_have_attribute("aria-valuenow", str(round(after["width"]) + 100))
    expect(page.get_by_role("columnheader", name="kind")).to_have_attribute("aria-sort", "none")
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("dialog").get_by_label("kind").uncheck()
    page.get_by_role("button", name="Done").click()
    expect(column).to_have_count(0)
    page.reload()
    expect(page.get_by_role("columnheader", name="_id")).to_be_visible()
    expect(column).to_have_count(0)


def test_a_collection_is_renamed_where_the_name_is_free(console: Console) -> None:
    page = console.page
    insert(console.server, "shop", "drafts", [{"_id": 1}])
    console.go("data", "default", "shop")
    page.get_by_role("button", name="Rename drafts").click()
    page.get_by_label("New name").fill("parts")
    page.get_by_role("button", name="Rename it").click()
    expect(page.get_by_role("alert")).to_contain_text("target namespace exists")
    page.get_by_label("New name").fill("pieces")
    page.get_by_role("button", name="Rename it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("main").get_by_role("link", name="pieces")).to_be_visible()
    expect(page.get_by_role("link", name="drafts")).to_have_count(0)


def test_a_sample_tells_what_documents_have_in_common(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts", "schema")
    fields = page.get_by_role("region", name="Fields")
    expect(fields.get_by_role("row", name="kind")).to_contain_text("String")
    expect(fields.get_by_role("row", name="kind")).to_contain_text("75 %")
    expect(fields.get_by_role("row", name="even")).to_contain_text("50.0 %")
    expect(fields.get_by_role("row", name="yes")).to_contain_text("Boolean")
    expect(fields.get_by_role("row", name="size")).to_contain_text("far from the others: -900")
    expect(fields.get_by_role("row", name="_id")).not_to_contain_text("far from")
    expect(page.get_by_text("A random sample of 60 documents, which is all that match")).to_be_visible()
    console.check_access()
    page.get_by_role("button", name="JSON Schema").click()
    expect(page.get_by_label("JSON Schema", exact=True)).to_contain_text('"bsonType": "object"')
    page.keyboard.press("Escape")
    write(console, "Filter", "{ kind: 'b' }")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A random sample of 15 documents")).to_be_visible()
    console.go("data", "default", "shop", "orders", "schema")
    shares = fields.get_by_role("row", name="status")
    expect(shares).to_contain_text("open 67 %")
    expect(shares).to_contain_text("shipped 33 %")


def test_indexes_are_made_asked_and_dropped(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts", "indexes")
    listed = page.get_by_role("region", name="Indexes")
    expect(listed.get_by_role("row")).to_have_count(2)
    expect(listed.get_by_role("button")).to_have_count(0)
    page.get_by_role("button", name="Create index").click()
    write(console, "Keys", "{ kind: 1, size: -1 }")
    page.get_by_role("dialog").get_by_label("Name").fill("by_kind")
    page.get_by_role("checkbox", name="Sparse").check()
    console.check_access()
    page.get_by_role("button", name="Create", exact=True).click()
    expect(listed.get_by_role("row", name="by_kind")).to_contain_text("sparse")
    write(console, "Filter", "{ kind: 'b', size: { $gt: 3 } }")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("Uses the index by_kind")).to_be_visible()
    page.get_by_role("button", name="Drop by_kind").click()
    page.get_by_label("to confirm").fill("by_kind")
    page.get_by_role("button", name="Drop it").click()
    expect(listed.get_by_role("row")).to_have_count(2)


def test_an_index_that_cannot_be_is_told(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "parts", "indexes")
    page.get_by_role("button", name="Create index").click()
    editor(console, "Keys").wait_for()
    write(console, "Keys", "{ kind: 1 }")
    page.get_by_role("checkbox", name="Unique").check()
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("dup")
    page.keyboard.press("Escape")


def test_of_many_collections_those_in_sight_are_made(console: Console) -> None:
    for number in range(140):
        console.server.ok("createCollection", database="many", collection=f"c{number:03}")
    page = console.page
    console.go("data", "default", "many")
    row = page.get_by_role("table").get_by_role("row")
    expect(row.filter(has_text="c000")).to_contain_text("0 B")
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "141")
    assert row.count() < 120
    console.check_access()
    side = page.get_by_role("navigation", name="Collections")
    page.get_by_role("button", name="Look again").click()
    expect(side.get_by_role("link", name="c000")).to_be_visible()
    listed = side.get_by_role("link", name="c139")
    expect(listed).to_have_count(0)
    page.evaluate(
        """for (const at of document.querySelectorAll("main .scroll, .side-list")) at.scrollTop = at.scrollHeight"""
    )
    last = row.filter(has_text="c139")
    expect(last).to_be_in_viewport()
    expect(last).to_contain_text("0 B")
    expect(last).to_have_attribute("aria-rowindex", "141")
    expect(listed).to_be_in_viewport()
    page.get_by_placeholder("Find a collection").fill("c01")
    expect(side.get_by_role("link", name="c01")).to_have_count(10)
    page.get_by_placeholder("Find a collection").fill("")
