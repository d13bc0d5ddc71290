"""Nothing can be learnt of what rules hide: random rules, documents and requests against two databases at once.

The two differ only in hidden values and invisible documents; every answer, error and count must be the same in both.
What a caller may see is told by a model of the rules that has nothing of the code under test.
"""

from __future__ import annotations

import asyncio
import copy
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_requests import MARKS, PLAIN, Step, reading, writing
from ruled import ADMIN, ME, NS, YOU, App, operation, said, user

from doorleaf.access.callers import Caller
from doorleaf.access.guards.checks import Guards
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import Namespace, Operation, Watch
from doorleaf.service import DataService
from doorleaf.stores.embedded.changes import stream as changes
from doorleaf.stores.embedded.store import EmbeddedStore

EXAMPLES = int(os.environ.get("DOORLEAF_TEST_EXAMPLES", "60"))
RUN = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# --- rules and their model -------------------------------------------------------------------------------------------

Keep = Callable[[Document], Document]


def without(*paths: str) -> Keep:
    """All but ``paths``, of which the second component may lie in the elements of an array."""

    def keep(document: Document) -> Document:
        kept = copy.deepcopy(document)
        for path in paths:
            top, _, below = path.partition(".")
            if not below:
                kept.pop(top, None)
            else:
                _take(kept.get(top), below)
        return kept

    return keep


def _take(value: Any, name: str) -> None:
    if isinstance(value, dict):
        value.pop(name, None)
    for item in value if isinstance(value, list) else ():
        _take(item, name)


def _only_x(value: Any) -> Any:
    if isinstance(value, list):
        return [_only_x(item) for item in value if isinstance(item, (dict, list))]
    return {"x": value["x"]} if "x" in value else {}


def only(*names: str) -> Keep:
    return lambda document: {name: value for name, value in document.items() if name in names}


@dataclass(frozen=True)
class Sight:
    """What a role lets its callers see of a document, in rules and as a function (None: not even that it exists)."""

    rule: Document
    keep: Callable[[Document], Document | None]


HIDE_NESTED = {"fields": {"s": {"read": False}}, "additional_fields": {"read": True, "write": True}}
SIGHTS = [
    Sight({"read": True}, lambda document: document),
    Sight({"read": True, "write": True}, lambda document: document),
    Sight({"read": False}, lambda document: None),
    Sight({"fields": {"s": {"read": False}}, "additional_fields": {"write": True}}, without("s")),
    Sight({"fields": {"s": {}, "_id": {"read": False}}, "additional_fields": {"write": True}}, without("s", "_id")),
    Sight({"fields": {"a": {"write": True}, "_id": {"read": True}, "n": {"read": True}}}, only("a", "_id", "n")),
    Sight({"fields": {"n": HIDE_NESTED, "l": HIDE_NESTED, "s": {"write": False}}, "additional_fields": {"write": True}},
          without("n.s", "l.s", "s")),
    Sight({"fields": {"n": {"fields": {"x": {"write": True}}}, "_id": {"read": True}}},
          lambda document: {k: (_only_x(v) if k == "n" else v)
                            for k, v in document.items() if k == "_id" or (k == "n" and isinstance(v, (dict, list)))}),
    Sight({"fields": {"s": {"read": {"kind": "open"}}}, "additional_fields": {"read": True, "write": True}},
          lambda document: document if document["kind"] == "open" else without("s")(document)),
    Sight({"read": {"kind": "open"}}, lambda document: document if document["kind"] == "open" else None),
    Sight({"write": {"kind": "open"}, "fields": {"s": {"read": False}, "l": {"read": False}},
           "additional_fields": {"read": True}},
          lambda document: document if document["kind"] == "open" else without("s", "l")(document)),
    Sight({"document_filters": {"read": {"kind": "open"}, "write": False}, "fields": {"s": {"read": False}},
           "additional_fields": {"read": True}},
          lambda document: without("s")(document) if document["kind"] == "open" else None),
]  # fmt: skip
APPLY: list[tuple[Any, Callable[[Document], bool]]] = [
    ({}, lambda document: True),
    ({"owner": "%%user.id"}, lambda document: document["owner"] == ME),
    ({"kind": "open"}, lambda document: document["kind"] == "open"),
    ({"%not": {"owner": "%%user.id"}}, lambda document: document["owner"] != ME),
    ({"%%user.type": "server"}, lambda document: False),
]


@dataclass
class Model:
    """Roles as rules, and what they show."""

    roles: list[tuple[int, int]]
    filtered: bool

    def rules(self) -> Document:
        roles = [
            {"name": f"role{place}", "apply_when": APPLY[apply][0], **SIGHTS[sight].rule}
            for place, (apply, sight) in enumerate(self.roles)
        ]
        filters = [{"query": {"kind": {"%ne": "gone"}}, "projection": {"b": 0}}] if self.filtered else []
        return {"roles": roles, "filters": filters}

    def shown(self, document: Document) -> Document | None:
        if self.filtered and document["kind"] == "gone":
            return None
        for apply, sight in self.roles:
            if APPLY[apply][1](document):
                seen = SIGHTS[sight].keep(document)
                return without("b")(seen) if self.filtered and seen is not None else seen
        return None


models = st.builds(
    Model,
    st.lists(st.tuples(st.integers(0, len(APPLY) - 1), st.integers(0, len(SIGHTS) - 1)), min_size=1, max_size=3),
    st.booleans(),
)

# --- documents -------------------------------------------------------------------------------------------------------

hidden_values = st.sampled_from(MARKS)
values = st.sampled_from(PLAIN)
inner = st.fixed_dictionaries({}, optional={"x": values, "s": hidden_values})
documents = st.lists(
    st.fixed_dictionaries(
        {"owner": st.sampled_from([ME, YOU]), "kind": st.sampled_from(["open", "shut", "gone"])},
        optional={
            "a": values, "b": hidden_values, "s": hidden_values, "n": inner | hidden_values,
            "l": st.lists(inner, max_size=3),
        },
    ),
    max_size=5,
).map(lambda listed: [{"_id": place, **document} for place, document in enumerate(listed)])  # fmt: skip
DECIDING = ("_id", "owner", "kind")
"""Fields by which the rules themselves decide: they are the same in both databases."""


def varied(model: Model, original: list[Document], draw: Any) -> list[Document]:
    """Other documents that look the same to the caller."""
    changed = []
    for document in original:
        other = draw(st.fixed_dictionaries({}, optional={
            "a": hidden_values, "b": hidden_values, "s": hidden_values, "n": inner | hidden_values,
            "l": st.lists(inner),
        }))  # fmt: skip
        fixed = {name: document[name] for name in DECIDING}
        shown = model.shown(document)
        if shown is None:
            if draw(st.booleans()):
                changed.append({**fixed, **other})
            continue
        changed.append(_mixed(document, shown, {**fixed, **other}, model))
    return changed


def _mixed(document: Document, shown: Document, other: Document, model: Model) -> Document:
    """``document`` with everything that is not shown taken from ``other``, if it then still looks the same."""
    for fields in (("a", "b", "s", "n", "l"), ("b", "s", "l"), ("b", "s"), ("s",), ("b",)):
        mixed = {name: value for name, value in document.items() if name not in fields or name in shown}
        mixed |= {name: other[name] for name in fields if name in other and name not in shown}
        for name in ("n", "l"):
            if name in shown:
                mixed[name] = _inside(document[name], other.get("s", "MARK-new"))
        if _same(model.shown(mixed), shown):
            return mixed
    return document


def _inside(value: Any, secret: Any) -> Any:
    if value in ([1, "MARK-three"], {"MARK-key": 1}):
        return value
    if isinstance(value, dict) and "s" in value:
        return {**value, "s": secret}
    return [_inside(item, secret) for item in value] if isinstance(value, list) else value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and bool(left == right)


def outcome(answer: Any) -> str:
    """What a client can tell of an answer, types included."""
    if isinstance(answer, DoorleafError):
        assert answer.status < 500, said(answer)
        return said(answer)
    return repr(answer)


def both(
    model: Model, one: list[Document], other: list[Document], steps: list[Step], near: bool = False
) -> list[tuple[str, str]]:
    """The outcomes of ``steps`` in both databases, and of a look at everything in the end."""
    rules = model.rules()
    asked = [*steps, ("find", {"sort": None}), ("countDocuments", {})]
    outcomes = []
    for stored in (one, other):
        app = App(
            {"things": rules, "others": rules},
            {"things": copy.deepcopy(stored), "others": copy.deepcopy(stored)},
            {"near": ("main",) if near else ()},
        )
        answers = app.run([(operation(name, **copy.deepcopy(fields)), user()) for name, fields in asked])
        outcomes.append([outcome(answer) for answer in answers])
    return list(zip(*outcomes, strict=True))


def marks(document: Any) -> set[str]:
    """The marks in a value."""
    text = repr(document)
    return {mark for mark in ("MARK-one", "MARK-two", "MARK-three", "MARK-key", "MARK-new") if mark in text}


@RUN
@given(models, documents, st.lists(reading, min_size=1, max_size=6), st.data())
def test_reading_tells_nothing_of_what_is_hidden(
    model: Model, stored: list[Document], steps: list[Step], data: st.DataObject
) -> None:
    other, near = varied(model, stored, data.draw), data.draw(st.booleans())
    for step, (one, two) in zip([*steps, "find", "count"], both(model, stored, other, steps, near), strict=True):
        assert one == two, step
    seen = marks([model.shown(document) for document in stored])
    asked = marks(steps)
    for one, _ in both(model, stored, stored, steps, near):
        assert marks(one) <= seen | asked


@RUN
@given(models, documents, st.lists(writing, min_size=1, max_size=3), st.data())
def test_writing_tells_nothing_of_what_is_hidden(
    model: Model, stored: list[Document], steps: list[Step], data: st.DataObject
) -> None:
    other, near = varied(model, stored, data.draw), data.draw(st.booleans())
    for step, (one, two) in zip([*steps, "find", "count"], both(model, stored, other, steps, near), strict=True):
        assert one == two, step


@RUN
@given(models, documents, st.booleans())
def test_what_is_shown_is_what_the_rules_say(model: Model, stored: list[Document], near: bool) -> None:
    app = App({"things": model.rules()}, {"things": stored}, {"near": ("main",) if near else ()})
    shown = [seen for document in stored if (seen := model.shown(document)) is not None]
    asked = [operation("find"), operation("countDocuments"), operation("aggregate", pipeline=[{"$match": {}}])]
    asked += [operation("findOne", filter={"_id": document["_id"]}) for document in stored]
    found, counted, piped, *single = app.run([(step, user()) for step in asked])
    assert found == shown
    for document, answer in zip(stored, single, strict=True):
        # Where no role shows the `_id`, nobody can ask for it.
        assert answer == model.shown(document) or (isinstance(answer, DoorleafError) and answer.status == 403)
    assert counted == {"count": len(shown)}
    if not isinstance(piped, DoorleafError):
        assert sorted(map(repr, piped)) == sorted(map(repr, shown))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream says at once that there is nothing."""
    monkeypatch.setattr(changes, "WAIT_SECONDS", 0.0)


async def _events(model: Model, before: list[Document], after: list[Document], replacing: bool) -> None:
    """Make, change and delete documents, and hold each event against the model."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), synchronous="OFF")
        await store.open()
        try:
            service = DataService(store, Guards(), None, App({"things": model.rules()}).ruleset())
            stream = (await service.execute(Watch(namespace=NS), Caller(user()))).changes

            async def event(asked: Operation[Any]) -> Document | None:
                await service.execute(asked, Caller(ADMIN))
                events = await stream.next()
                if not events:
                    await asyncio.sleep(0.01)  # a busy machine may show it a moment after the write was answered
                    events = await stream.next() or []
                assert len(events) < 2
                return events[0] if events else None

            for document in before:
                _hold(await event(operation("insertOne", document=copy.deepcopy(document))), model.shown(document))
            for old, new in zip(before, after, strict=False):
                same: Any = {"filter": {"_id": old["_id"]}}
                was, becomes = model.shown(old), model.shown(new)
                if replacing:
                    found = await event(operation("replaceOne", replacement=copy.deepcopy(new), **same))
                    # Where nothing changes, MongoDB makes no event of it, and whether one comes does not matter.
                    _hold(found, becomes, was, may_lack=_same(old, new))
                    continue
                fields = {name: value for name, value in new.items() if name != "_id"}
                gone = {name: 1 for name in old if name not in new}
                update = {"$set": fields} | ({"$unset": gone} if gone else {})
                found = await event(operation("updateOne", update=copy.deepcopy(update), **same))
                # An update of nothing that may be read is none.
                unseen = was is not None and becomes is not None and _alike(was, becomes)
                _hold(found, becomes, was, may_lack=unseen)
        finally:
            await store.close()


def _alike(one: Document, other: Document) -> bool:
    return sorted(map(repr, one.items())) == sorted(map(repr, other.items()))


def _hold(
    event: Document | None, shown: Document | None, was: Document | None = None, *, may_lack: bool = False
) -> None:
    """An event comes if the document is shown, or ``was``, and has of it what is shown."""
    if event is None:
        assert (shown is None and was is None) or may_lack
        return
    assert (event["operationType"] == "insert") == (was is None)
    assert (event["operationType"] == "delete") == (shown is None)
    if shown is None:
        assert was is not None
        assert "fullDocument" not in event
        assert marks(event) <= marks(was)
        assert ("documentKey" in event) == ("_id" in event) == ("_id" in was)
        return
    assert _alike(event["fullDocument"], shown)
    assert marks(event) <= marks(shown)
    assert ("documentKey" in event) == ("_id" in event) == ("_id" in shown)


@RUN
@given(models, documents, documents, st.booleans())
def test_change_events_show_what_the_rules_say(
    model: Model, before: list[Document], after: list[Document], replacing: bool
) -> None:
    asyncio.run(_events(model, before, after, replacing))


@RUN
@given(documents, st.lists(reading | writing, min_size=1, max_size=6))
def test_a_rule_that_allows_all_changes_nothing(stored: list[Document], steps: list[Step]) -> None:
    rules = {"*": {"roles": [{"name": "all", "apply_when": {}, "read": True, "write": True}]}}
    outcomes = []
    for caller in (ADMIN, user()):
        app = App(rules, {"things": copy.deepcopy(stored)})
        asked = [
            (operation(name, **copy.deepcopy(fields)), caller)
            for name, fields in steps
            if not any(word in repr(fields) for word in ("$out", "$collStats", "indexKey", "$$NOW"))
        ]
        outcomes.append([outcome(answer) for answer in app.run([*asked, (operation("find"), caller)])])
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("namespace", [NS, Namespace("app", "others")])
def test_the_model_hides_something(namespace: Namespace) -> None:
    model = Model([(0, 3)], False)
    stored = [{"_id": 1, "owner": ME, "kind": "open", "s": "MARK-one", "n": Int64(5)}]
    app = App({namespace.collection: model.rules()}, {namespace.collection: stored})
    [answer] = app.run([(operation("find", namespace), user())])
    assert answer == [{"_id": 1, "owner": ME, "kind": "open", "n": 5}]
