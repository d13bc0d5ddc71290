"""Nothing that a caller sends goes on past the deadline or holds more than it may, whatever it is made of.

A look at the clock is counted, not timed: with a deadline in the past the next look ends the work. ``ELEMENTS`` is
what may lie between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import Decimal128, Regex

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.difference import difference
from doorleaf.mql.display import display
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.filters.compile import compile_filter, compile_positional
from doorleaf.mql.order import compile_sort, sort_documents, top
from doorleaf.mql.regular.compile import compile_regex
from doorleaf.mql.stages.compile import compile_pipeline
from doorleaf.mql.updates.compile import compile_update

ELEMENTS = 25_000


class Watched(Context):
    """Counts the looks at the clock."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def check_now(self) -> None:
        self.looks += 1


Work = Callable[[Context], object]

NUMBERS = [number * 7919 % 50_021 for number in range(50_000)]
LONG = "é" * 2_000_000
TEXTS = [f"t{number}" for number in NUMBERS]


def expression(written: Any) -> Work:
    return lambda context: compile_expression(written, context)({"a": NUMBERS, "t": TEXTS, "s": LONG}, {})


def matching(filter: Any, document: Any = None) -> Work:
    return lambda context: compile_filter(filter, context)(document or {"a": NUMBERS, "t": TEXTS})


def updating(update: Any, **options: Any) -> Work:
    return lambda context: compile_update(update, context, **options).apply({"_id": 1, "a": NUMBERS, "t": TEXTS})


def piped(*stages: Any) -> Work:
    documents = [{"_id": number, "n": number} for number in NUMBERS[:30_000]]
    return lambda context: list(compile_pipeline(list(stages), context)(documents))


def nested_and(levels: int) -> Any:
    filter: Any = {"a": 1}
    for _ in range(levels):
        filter = {"$and": [filter, filter]}
    return filter


ABSENT = [{"a": -1 - number} for number in range(20)]
LOOPS: list[tuple[str, Work, int]] = [
    ("$setUnion", expression({"$setUnion": ["$a", "$t"]}), 100_000),
    ("$setIntersection", expression({"$setIntersection": ["$a", "$a"]}), 100_000),
    ("$setDifference", expression({"$setDifference": ["$a", "$t"]}), 100_000),
    ("$setEquals", expression({"$setEquals": ["$a", "$a"]}), 100_000),
    ("$setIsSubset", expression({"$setIsSubset": ["$a", "$a"]}), 100_000),
    ("$allElementsTrue", expression({"$allElementsTrue": ["$t"]}), 50_000),
    ("$anyElementTrue", expression({"$anyElementTrue": [{"$map": {"input": "$a", "in": 0}}]}), 100_000),
    ("$in", expression({"$in": [-1, "$a"]}), 50_000),
    ("$in a constant", expression({"$in": [-1, NUMBERS]}), 50_000),
    ("$indexOfArray", expression({"$indexOfArray": ["$a", -1]}), 50_000),
    ("$sortArray", expression({"$sortArray": {"input": "$a", "sortBy": 1}}), 100_000),
    ("$sortArray by a field", expression({"$sortArray": {"input": "$a", "sortBy": {"x": 1}}}), 100_000),
    ("$minN", expression({"$minN": {"input": "$a", "n": 3}}), 50_000),
    ("$maxN of many", expression({"$maxN": {"input": "$a", "n": 20_000}}), 100_000),
    ("$sum", expression({"$sum": "$a"}), 50_000),
    ("$avg", expression({"$avg": "$a"}), 50_000),
    ("$max", expression({"$max": "$a"}), 50_000),
    ("$stdDevPop", expression({"$stdDevPop": "$a"}), 50_000),
    ("$median", expression({"$median": {"input": "$a", "method": "approximate"}}), 100_000),
    ("$concatArrays", expression({"$concatArrays": ["$a", "$a"]}), 25_000),
    ("$toUpper", expression({"$toUpper": "$s"}), 50_000),
    ("a literal", expression(["$b"] * 50_000), 100_000),
    ("$and", expression({"$and": [{"$ne": ["$b", number]} for number in range(20_000)]}), 50_000),
    ("$switch", expression({"$switch": {"branches": [{"case": "$b", "then": 1}] * 20_000, "default": 1}}), 50_000),
    ("equality", matching({"a": -1}), 50_000),
    ("$or", matching({"$or": ABSENT}), 2_000_000),
    ("$nor of dotted paths", matching({"$nor": [{"d.x": -1}] * 20}, {"d": [{"x": n} for n in NUMBERS]}), 2_000_000),
    ("$elemMatch", matching({"a": {"$elemMatch": {"$lt": -1}}}), 50_000),
    ("$in of a filter", matching({"b": {"$in": NUMBERS}}), 50_000),
    ("$all", matching({"b": {"$all": NUMBERS}}), 50_000),
    ("many conditions", matching({"$or": [{"b": number} for number in range(20_000)]}), 50_000),
    ("nested conditions", matching(nested_and(13), {"b": 1}), 8_000),
    ("regular expressions", matching({"b": {"$in": [Regex(f"^x{number}$") for number in range(300)]}}), 300 * ELEMENTS),
    ("uniqueItems", matching({"$jsonSchema": {"properties": {"a": {"uniqueItems": True}}}}), 50_000),
    ("items", matching({"$jsonSchema": {"properties": {"a": {"items": {"minimum": 0}}}}}), 50_000),
    ("$push with $sort", updating({"$push": {"a": {"$each": [], "$sort": 1}}}), 100_000),
    ("a difference", lambda context: difference({"a": NUMBERS}, {"a": [*NUMBERS]}, context), 50_000),
    ("a difference everywhere", lambda context: difference({"a": NUMBERS}, {"a": TEXTS}, context), 50_000),
    ("a difference that no path tells",
     lambda context: difference({"a": {"$": NUMBERS}}, {"a": {"$": [*NUMBERS]}}, context), 50_000),
    ("$addToSet", updating({"$addToSet": {"a": {"$each": NUMBERS}}}), 100_000),
    ("$pull", updating({"$pull": {"a": {"$in": [-1]}}}), 50_000),
    ("$pull of many conditions", updating({"$pull": {"a": {"$lt": -1, "$nin": [0], "$mod": [3, 5]}}}), 50_000),
    ("$pullAll", updating({"$pullAll": {"a": NUMBERS}}), 100_000),
    ("array filters", updating({"$set": {"a.$[x]": 1}}, array_filters=[{"x": -1}]), 50_000),
    ("all elements", updating({"$inc": {"a.$[]": 1}}), 50_000),
    ("many fields", updating({"$set": {f"f{number}": 1 for number in range(20_000)}}), 50_000),
    ("$sort", piped({"$sort": {"n": 1}}), 50_000),
    ("$sort and $limit", piped({"$sort": {"n": 1}}, {"$limit": 20_000}), 50_000),
    ("$group", piped({"$group": {"_id": "$n"}}), 25_000),
    ("$sample", piped({"$sample": {"size": 20_000}}), 50_000),
]  # fmt: skip


@pytest.mark.parametrize(("work", "steps"), [loop[1:] for loop in LOOPS], ids=[loop[0] for loop in LOOPS])
def test_it_looks_at_the_clock_all_the_time_and_gives_back_what_it_was_charged(work: Work, steps: int) -> None:
    context = Watched()
    work(context)
    assert context.looks >= steps // ELEMENTS
    assert context._charged == 0


def test_a_sort_in_pieces_is_the_sort() -> None:
    documents = [{"_id": number, "n": value % 50} for number, value in enumerate(NUMBERS)]
    key = compile_sort({"n": -1})
    expected = sorted(documents, key=key)
    assert sort_documents(documents, key, Context(memory_limit=1 << 30)) == expected
    assert top(documents, key, 20_000, Context(memory_limit=1 << 30)) == expected[:20_000]
    numbers = Context().sort(NUMBERS, lambda number: number % 10, reverse=True)
    assert numbers == sorted(NUMBERS, key=lambda number: number % 10, reverse=True)


# --- memory ----------------------------------------------------------------------------------------------------------

MANY: Any = {"$range": [0, 2_000_000]}
DOUBLE: Any = {"$group": {"_id": None, "a": {"$first": "$$ROOT"}, "b": {"$first": "$$ROOT"}}}
NEST: Any = {"$addFields": {"a": "$$ROOT", "b": "$$ROOT"}}
LARGE = "x" * (1 << 20)
FEW_BYTES = 25 << 20
"""A quarter of what an operation may hold, and far less than each of these would."""
TOO_MUCH: list[tuple[str, list[Any]]] = [
    ("documents that double by $group", [DOUBLE] * 60),
    ("documents that double by $addFields", [NEST] * 60),
    ("documents that double by $project", [{"$project": {"a": "$$ROOT", "b": "$$ROOT"}}] * 60),
    ("$facet", [{"$facet": {"a": [{"$project": {"r": MANY}}, {"$unwind": "$r"}]}}]),
    ("$lookup", [{"$lookup": {"pipeline": [{"$documents": [{"a": 1}]}, {"$project": {"r": MANY}}, {"$unwind": "$r"}],
                              "as": "x"}}]),
    ("$sample", [{"$project": {"r": MANY}}, {"$unwind": "$r"}, {"$sample": {"size": 1_000_000}}]),
    ("$push", [{"$project": {"r": MANY}}, {"$unwind": "$r"}, {"$group": {"_id": None, "a": {"$push": "$$ROOT"}}}]),
    ("$last", [{"$project": {"r": MANY, "t": {"$concat": ["$t", "y"]}}}, {"$unwind": "$r"},
               {"$group": {"_id": "$r", "a": {"$last": "$t"}}}]),
    ("strings in an array", [{"$project": {"x": {"$map": {"input": {"$range": [0, 1000]}, "in": "$t"}}}}]),
    ("strings in a literal", [{"$project": {"x": ["$t"] * 100}}]),
    ("strings in fields", [{"$addFields": {f"f{number}": "$t" for number in range(100)}}]),
    ("a field of many elements", [{"$project": {"l": {"$map": {"input": {"$range": [0, 1000]}, "in": {"a": 1}}},
                                                "t": 1}}, {"$addFields": {"l.t": "$t"}}]),
    ("$zip", [{"$project": {"x": {"$zip": {"inputs": [MANY] * 20}}}}]),
    ("$concatArrays", [{"$project": {"x": {"$concatArrays": [MANY] * 20}}}]),
    ("$setUnion", [{"$project": {"x": {"$setUnion": [MANY] * 100}}}]),
    ("$let", [{"$project": {"x": {"$let": {"vars": {f"v{n}": MANY for n in range(50)}, "in": 1}}}}]),
    ("$split", [{"$project": {"x": {"$split": [{"$concat": ["$t"] * 15}, "x"]}}}]),
    ("$objectToArray", [{"$project": {"x": {"$objectToArray": "$wide"}}}]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TOO_MUCH)), ids=[case[0] for case in TOO_MUCH])
def test_what_is_too_much_ends_early(number: int) -> None:
    pipeline = TOO_MUCH[number][1]
    document: dict[str, Any] = {"_id": 1, "t": LARGE}
    if "$wide" in str(pipeline):
        document["wide"] = {f"k{number}": 1 for number in range(700_000)}
    with pytest.raises(DataError) as raised:
        list(compile_pipeline(pipeline, Context(memory_limit=FEW_BYTES))([document]))
    assert raised.value.number in (146, 292, 10334, 4568, 15)


def test_ranges_held_one_inside_the_other_are_charged_together() -> None:
    inner: Any = 1
    for _ in range(50):
        inner = {"$map": {"input": MANY, "in": inner}}
    with pytest.raises(DataError) as raised:
        compile_expression(inner, Context())({}, {})
    assert raised.value.number == 146


def others(collection: str, database: str | None = None) -> list[Any]:
    return [{"_id": number, "next": number + 1, "t": "x" * 1000} for number in range(100)]


GRAPH = {"from": "c", "startWith": 0, "connectFromField": "next", "connectToField": "_id", "as": "x"}
PIPED = {"from": "c", "let": {"n": "$n"}, "pipeline": [{"$match": {"$expr": {"$gte": ["$_id", "$$n"]}}}], "as": "x"}


@pytest.mark.parametrize("stage", [{"$graphLookup": GRAPH}, {"$lookup": PIPED}], ids=["$graphLookup", "$lookup"])
def test_what_is_joined_is_charged_while_it_lives(stage: Any) -> None:
    context = Context()
    found = compile_pipeline([stage], context, reader=others)([{"n": 0}, {"n": 0}])
    first, charged = next(found), context._charged
    assert len(first["x"]) == 100
    assert charged > 100_000
    assert next(found) == first
    assert context._charged == charged
    assert next(found, None) is None
    assert context._charged <= charged - 100_000
    with pytest.raises(DataError) as raised:
        list(compile_pipeline([stage], Context(memory_limit=100_000), reader=others)([{"n": 0}]))
    assert raised.value.number in (146, 292)


def test_an_error_text_is_made_no_longer_than_it_is_shown() -> None:
    shared: Any = [1]
    for _ in range(100):
        shared = [shared, shared]
    assert len(display(shared)) == 1003


# --- strings and regular expressions ---------------------------------------------------------------------------------


def test_trimming_many_characters_takes_time_with_the_sum_of_the_lengths() -> None:
    chars = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    text = "ab" + chars[::-1] * 10
    for operator, expected in (("$trim", "ab"), ("$rtrim", "ab"), ("$ltrim", text)):
        assert compile_expression({operator: {"input": text, "chars": chars}}, Context())({}, {}) == expected
    everything = {"$trim": {"input": chars, "chars": chars}}
    assert compile_expression(everything, Context())({}, {}) == ""
    around = {"$ltrim": {"input": chars + "ab" + chars, "chars": chars}}
    assert compile_expression(around, Context())({}, {}) == "ab" + chars


@pytest.mark.parametrize(
    "pattern", ["[" * 32_764, "[" + "[." * 16_000, "(?#" * 10_000, "\\Q" * 16_000 + "[", "(?(" * 9000]
)
def test_patterns_that_were_read_again_and_again(pattern: str) -> None:
    with pytest.raises(DataError, match="invalid"):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", [r"\b" * 16_000, r"\R" * 16_000])
def test_patterns_that_grow_are_refused(pattern: str) -> None:
    with pytest.raises(DataError, match="too large"):
        compile_regex(pattern)


@pytest.mark.parametrize(
    "pattern", ["(?R)", "a(?R)?b", "(a(?1)?)", "(?<x>a(?&x)?)", "(a(?2))(b(?1))", r"(a\g<1>)", "(?0)"]
)
def test_recursion_is_refused(pattern: str) -> None:
    with pytest.raises(Unsupported, match="recursion"):
        compile_regex(pattern)


def test_a_positional_filter_looks_at_the_clock() -> None:
    context = Watched()
    assert compile_positional({"a": -1}, context)({"a": NUMBERS}) == (False, None)
    assert context.looks > 10


def test_decimals_that_would_collide_are_grouped() -> None:
    documents = [{"n": Decimal128(str(5 + number * (2**61 - 1)))} for number in range(20_000)]
    groups = list(compile_pipeline([{"$group": {"_id": "$n"}}], Context())(documents))
    assert len(groups) == 20_000


def test_large_documents_bring_the_next_look_at_the_clock_nearer() -> None:
    context = Watched()
    for _ in range(64):
        context.check(1 + ((1 << 20) >> 12))
    assert context.looks == 64
    for _ in range(64):
        context.check()
    assert context.looks == 65
