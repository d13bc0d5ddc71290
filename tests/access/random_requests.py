"""Requests at random that try to find out what is hidden: filters, projections, pipelines, updates."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from ruled import ME

MARKS = ["MARK-one", "MARK-two", "5", 0, 7, None, [1, "MARK-three"], {"MARK-key": 1}, -1.5, True]
PLAIN = ["v", "5", 0, 7, None, [1, 2], {"x": 1}]

PATHS = [
    "a",
    "b",
    "s",
    "n",
    "n.x",
    "n.s",
    "l",
    "l.x",
    "l.s",
    "l.0",
    "l.0.s",
    "l.0.x",
    "owner",
    "kind",
    "_id",
    "z",
    "n.z",
]
paths = st.sampled_from(PATHS)
guesses = st.sampled_from([*MARKS, *PLAIN, ME])
variables = st.sampled_from(["$$ROOT", "$$CURRENT", "$$ROOT.s", "$$CURRENT.n.s", "$$NOW", "$$v", "$$REMOVE"])
references = paths.map(lambda path: "$" + path) | variables


def _deeper(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["s", "n", "a", "b"])
    unary = [
        "$toInt",
        "$toString",
        "$objectToArray",
        "$size",
        "$type",
        "$first",
        "$not",
        "$isArray",
        "$strLenCP",
        "$abs",
    ]
    binary = [
        "$eq",
        "$gt",
        "$concat",
        "$divide",
        "$ifNull",
        "$mergeObjects",
        "$in",
        "$setUnion",
        "$arrayElemAt",
        "$add",
    ]
    return st.one_of(
        st.builds(lambda name, value: {name: value}, st.sampled_from(unary), inside),
        st.builds(lambda name, one, two: {name: [one, two]}, st.sampled_from(binary), inside, inside),
        st.builds(lambda field: {"$getField": field}, names | inside),
        st.builds(lambda field, source: {"$getField": {"field": field, "input": source}}, names | inside, inside),
        st.builds(
            lambda field, value: {"$setField": {"field": field, "input": "$$ROOT", "value": value}}, names, inside
        ),
        st.builds(lambda value, body: {"$let": {"vars": {"v": value}, "in": body}}, inside, inside),
        st.builds(lambda value, body: {"$let": {"vars": {"CURRENT": value}, "in": body}}, inside, inside),
        st.builds(lambda one, two, three: {"$cond": [one, two, three]}, inside, inside, inside),
        st.builds(lambda source, body: {"$map": {"input": source, "as": "v", "in": body}}, inside, inside),
        st.builds(lambda source, body: {"$filter": {"input": source, "as": "v", "cond": body}}, inside, inside),
        st.builds(lambda source: {"$reduce": {"input": source, "initialValue": "", "in": "$$this"}}, inside),
        st.builds(lambda source: {"$sortArray": {"input": source, "sortBy": {"s": 1}}}, inside),
        st.builds(lambda source: {"$slice": [source, 1]}, inside),
        st.builds(lambda source: {"$convert": {"input": source, "to": "int"}}, inside),
        st.builds(lambda value: {"p": {"q": value}}, inside),
        st.just({"$meta": "indexKey"}),
        st.builds(lambda value: {"$literal": value}, guesses),
    )


expressions = st.recursive(
    references | guesses.filter(lambda value: not isinstance(value, dict)), _deeper, max_leaves=5
)
conditions = st.one_of(
    guesses,
    st.builds(lambda name, value: {name: value}, st.sampled_from(["$eq", "$ne", "$gt", "$lte", "$not"]), guesses),
    st.builds(lambda value: {"$in": [value, 3]}, guesses),
    st.builds(lambda value: {"$exists": value}, st.booleans()),
    st.sampled_from([{"$type": "string"}, {"$size": 1}, {"$regex": "MARK"}, {"$mod": [2, 0]}, {"$elemMatch": {}}]),
    st.sampled_from(
        [{"$elemMatch": {"s": "MARK-one"}}, {"$elemMatch": {"$gt": 0}}, {"$all": [1]}, {"$not": {"$gt": 1}}]
    ),
    st.sampled_from([{"$elemMatch": {"$or": [{"s": 7}, {"x": 7}]}}, {"$elemMatch": {"$nor": [{"s": 7}]}}]),
)
filters = st.recursive(
    st.one_of(
        st.just({}),
        st.builds(lambda path, condition: {path: condition}, paths, conditions),
        st.builds(lambda expression: {"$expr": expression}, expressions),
        st.sampled_from([{"$jsonSchema": {"required": ["s"]}}, {"$comment": "x"}, {"$text": {"$search": "MARK"}}]),
    ),
    lambda inside: st.builds(lambda name, parts: {name: parts}, st.sampled_from(["$and", "$or", "$nor"]),
                             st.lists(inside, min_size=1, max_size=2)),
    max_leaves=3,
)  # fmt: skip
sorts = st.none() | st.dictionaries(paths, st.sampled_from([1, -1]), min_size=1, max_size=2)
projections = st.none() | st.one_of(
    st.dictionaries(paths, st.just(1), min_size=1, max_size=2),
    st.dictionaries(paths, st.just(0), min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["a", "p", "n.p", "s"]), expressions, min_size=1, max_size=2),
    st.builds(lambda value: {"n": {"p": value}}, expressions),
    st.builds(lambda path: {path + ".$": 1}, paths),
    st.builds(lambda path, value: {path: {"$slice": value}}, paths, st.just(1) | st.lists(references, max_size=2)),
    st.builds(lambda path, value: {path: {"$elemMatch": value}}, paths, filters),
)
targets = st.sampled_from(["things", "others", "none"])


def _stages(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pipeline = st.lists(inside, max_size=2)
    return st.one_of(
        st.builds(lambda one, two: {"$facet": {"p": one, "q": two}}, pipeline, pipeline),
        st.builds(lambda name, inner: {"$unionWith": {"coll": name, "pipeline": inner}}, targets, pipeline),
        st.builds(lambda name, inner, value: {"$lookup": {"from": name, "let": {"v": value}, "pipeline": inner,
        "as": "p"}},
                  targets, pipeline, expressions),
    )  # fmt: skip


stages = st.recursive(
    st.one_of(
        st.builds(lambda value: {"$match": value}, filters),
        st.builds(lambda name, value: {name: {"p": value}}, st.sampled_from(["$addFields", "$project", "$set"]),
        expressions),
        st.builds(lambda value: {"$replaceWith": value}, expressions),
        st.builds(lambda key, value: {"$group": {"_id": key, "p": {"$push": value}}}, expressions, expressions),
        st.builds(lambda value: {"$sortByCount": value}, expressions),
        st.builds(lambda path: {"$unwind": "$" + path}, paths),
        st.builds(lambda path: {"$sort": {path: 1}}, paths),
        st.builds(lambda value: {"$redact": {"$cond": [value, "$$KEEP", "$$PRUNE"]}}, expressions),
        st.builds(lambda path: {"$unset": path}, paths),
        st.builds(lambda value: {"$bucket": {"groupBy": value, "boundaries": [0, 5, 9], "default": "o"}}, expressions),
        st.builds(lambda name: {"$unionWith": name}, targets),
        st.builds(
            lambda name, local, foreign: {
                "$lookup": {"from": name, "localField": local, "foreignField": foreign, "as": "p"}
            },
            targets, paths, paths,
        ),
        st.builds(
            lambda name, start, source, to: {
                "$graphLookup": {"from": name, "startWith": start, "connectFromField": source, "connectToField": to,
                                 "as": "p"}
            },
            targets, references, paths, paths,
        ),
        st.sampled_from([{"$count": "c"}, {"$limit": 2}, {"$skip": 1}, {"$out": "others"}, {"$collStats": {}}]),
    ),
    _stages,
    max_leaves=3,
)  # fmt: skip
changes = st.one_of(
    st.builds(
        lambda name, path, value: {name: {path: value}},
        st.sampled_from(
            ["$set", "$inc", "$min", "$max", "$push", "$pull", "$addToSet", "$setOnInsert", "$mul", "$pop"]
        ),
        paths | st.sampled_from(["l.$", "l.$.s", "l.$[].x", "l.$[i].x"]),
        guesses,
    ),
    st.builds(lambda path: {"$unset": {path: ""}}, paths),
    st.builds(lambda path, target: {"$rename": {path: target}}, paths, st.sampled_from(["a", "z", "n.x"])),
    st.lists(
        st.one_of(
            st.builds(
                lambda path, value: {"$set": {path: value}}, st.sampled_from(["a", "z", "n.x", "s"]), expressions
            ),
            st.builds(lambda value: {"$replaceWith": value}, expressions),
            st.builds(lambda path: {"$unset": path}, paths),
            st.builds(lambda value: {"$project": {"a": value, "_id": 1}}, expressions),
        ),
        min_size=1,
        max_size=2,
    ),
)
replacements = st.fixed_dictionaries(
    {}, optional={"a": guesses, "s": guesses, "owner": st.just(ME), "kind": st.just("open")}
)
Step = tuple[str, dict[str, Any]]
reading = st.one_of(
    st.builds(lambda f, p, s, h: ("find", {"filter": f, "projection": p, "sort": s, "hint": h}), filters, projections,
              sorts, st.sampled_from([None, None, None, {"s": 1}, "s_1"])),
    st.builds(lambda f, p, s, v: ("findOne", {"filter": f, "projection": p, "sort": s, "let": v}), filters, projections,
              sorts, st.none() | st.builds(lambda value: {"v": value}, references | guesses)),
    st.builds(lambda f: ("countDocuments", {"filter": f}), filters),
    st.just(("estimatedDocumentCount", {})),
    st.builds(lambda key, f: ("distinct", {"key": key, "filter": f}), paths, filters),
    st.builds(lambda listed: ("aggregate", {"pipeline": listed}), st.lists(stages, max_size=3)),
)  # fmt: skip
writing = st.one_of(
    st.builds(
        lambda name, f, u, a: (name, {"filter": f, "update": u, "array_filters": a}),
        st.sampled_from(["updateOne", "updateMany"]), filters, changes,
        st.sampled_from([None, None, [{"i.s": 7}], [{"i.x": 7}]]),
    ),
    st.builds(lambda f, u, p, n: ("findOneAndUpdate", {"filter": f, "update": u, "projection": p,
    "return_new_document": n}),
              filters, changes, projections, st.booleans()),
    st.builds(lambda f, r, p: ("findOneAndReplace", {"filter": f, "replacement": r, "projection": p}), filters,
              replacements, projections),
    st.builds(lambda f, r: ("replaceOne", {"filter": f, "replacement": r}), filters, replacements),
    st.builds(lambda name, f: (name, {"filter": f}), st.sampled_from(["deleteOne", "deleteMany", "findOneAndDelete"]),
              filters),
    st.builds(lambda r, i: ("insertOne", {"document": {"_id": i, "owner": ME, "kind": "open", **r}}), replacements,
              st.integers(100, 102)),
    st.builds(lambda f, u: ("bulkWrite", {"operations": [("updateOne", {"filter": f, "update": u}),
                                                         ("deleteOne", {"filter": f})]}), filters, changes),
)  # fmt: skip
