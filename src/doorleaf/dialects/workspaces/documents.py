"""Documents as resources: query, insert, read, update, replace and delete one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import bson

from doorleaf import ejson
from doorleaf.apart import CODING
from doorleaf.dialects.base import Route
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.cursors import (
    Seal,
    behind,
    cursor_of,
    following,
    near,
    passed,
    require_pageable,
)
from doorleaf.dialects.workspaces.door import READ, WRITE, Answer, Asked, Door, etag_of
from doorleaf.dialects.workspaces.query import Query, identified, joined, read
from doorleaf.dialects.workspaces.writes import check_document, check_update, shown, with_id
from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import InvalidParameter, NotFound, PreconditionFailed
from doorleaf.operations import (
    CountDocuments,
    DeleteOne,
    Find,
    FindOne,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertOne,
    altered,
)

DOCUMENTS = "/collections/{collection}/documents"
ONE = f"{DOCUMENTS}/{{id}}"
ESTIMATED = 10_000
"""Where counting ends that only estimates."""
_PAGE = b',"pagination":{"limit":%d,"skip":%d,"total":%b,"hasMore":%b'
_COUNTED = {"none": None, "estimated": ESTIMATED, "exact": 0}
"""What the words of ``count`` ask a find for."""
_TIED = 3
"""How many documents more are read behind a cursor: the one where it ended, and others that have the same value."""
_LARGE_BYTES = 256 * 1024
_SECONDS = 30.0

T = TypeVar("T")

Sealing = Callable[[str, bytes], bytes]
"""Signs something for a tenant."""


def document_routes(door: Door, seal: Sealing) -> tuple[Route, ...]:
    """The routes of documents."""

    async def listed(asked: Asked) -> Answer:
        return await _listed(asked, lambda content: seal(asked.place.tenant, content))

    return (
        door.route("GET", DOCUMENTS, "workspaceQuery", listed, abouts.QUERY, scope=READ),
        door.route("POST", DOCUMENTS, "workspaceInsert", _insert, abouts.INSERT, scope=WRITE, reads=True),
        door.route("GET", ONE, "workspaceRead", _read, abouts.READ, scope=READ),
        door.route("PATCH", ONE, "workspaceUpdate", _update, abouts.UPDATE, scope=WRITE, reads=True),
        door.route("PUT", ONE, "workspaceReplace", _replace, abouts.REPLACE, scope=WRITE, reads=True),
        door.route("DELETE", ONE, "workspaceDelete", _delete, abouts.DELETE, scope=WRITE),
    )


async def _apart(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """What ``work`` makes of documents of ``size`` bytes: of many bytes in a thread."""
    return work(*arguments) if size < _LARGE_BYTES else await CODING.run(_SECONDS, work, *arguments)


# --- many ------------------------------------------------------------------------------------------------------------


async def _listed(asked: Asked, seal: Seal) -> Answer:
    query = read(asked.request.query)
    if query.cursor is not None:
        require_pageable(query.sort)
    about = f"{asked.place.id}/{asked.request.params['collection']}"
    found, more, total = await _page(asked, query, about, seal)
    count = len(found)
    if total is not None and query.count == "exact" and query.cursor is None:
        more = query.skip + count < total
    told = _PAGE % (query.limit, query.skip, b"null" if total is None else b"%d" % total, b"true" if more else b"false")
    if query.cursor is not None:
        after = await _next(asked, query, found, about, seal) if more and count else None
        told += b',"nextCursor":' + ejson.dumps(after, ejson.Mode.PLAIN)
    body = await _apart(found.size, ejson.encode_documents, found, asked.mode, b'{"data":', told + b"}}")
    return Answer(body)


async def _page(asked: Asked, query: Query, about: str, seal: Seal) -> tuple[Documents, bool, int | None]:
    """A page of documents, whether there are more as far as the page tells, and how many match, if that is asked."""
    by_total = query.count == "exact" and query.cursor is None  # which tells whether there are more
    namespace, wanted = asked.namespace(), query.limit + (not by_total)
    find = Find(
        namespace=namespace,
        filter=query.filter,
        projection=query.projection,
        sort=query.sort,
        limit=wanted,
        skip=query.skip,
        total=_COUNTED[query.count],
    )
    if not query.cursor:
        result = await asked.run(find)
        return *_cut(result.documents, query.limit), result.total
    page = await _behind(asked, query, find, behind(query.cursor, query, about, seal))
    if find.total is None:
        return *page, None
    counting = CountDocuments(namespace=namespace, filter=query.filter, limit=find.total)
    return *page, (await asked.run(counting)).count


async def _behind(asked: Asked, query: Query, find: Find, values: list[Any]) -> tuple[Documents, bool]:
    """The page that comes behind the values of a cursor."""
    page = await _near(asked, query, find, values)
    if page is not None:
        return _cut(page, query.limit)
    batches: list[bytes] = []
    left = find.limit
    for condition in following(query.sort, values):
        condition = joined([query.filter, condition]) if query.filter else condition
        found = (await asked.run(altered(find, filter=condition, limit=left, total=None))).documents
        batches += found.batches
        left -= len(found)
        if not left:
            break
    return _cut(Documents(batches), query.limit)


async def _near(asked: Asked, query: Query, find: Find, values: list[Any]) -> Documents | None:
    """The page where one simple query has all of it, as mostly; None where it has not."""
    condition = near(query.sort, values) if query.projection is None else None
    if condition is None:
        return None
    condition = joined([query.filter, condition]) if query.filter else condition
    asking = altered(find, filter=condition, limit=find.limit + _TIED, total=None)
    documents = (await asked.run(asking)).documents
    found = [*documents]
    count = await _apart(documents.size, passed, found[:_TIED], query.sort, values)
    return None if count is None or len(found) - count < find.limit else Documents.each(found[count:])


def _cut(documents: Documents, limit: int) -> tuple[Documents, bool]:
    """The first ``limit`` of some documents, and whether there were more."""
    return documents.few(limit), len(documents) > limit


async def _next(asked: Asked, query: Query, found: Documents, about: str, seal: Seal) -> str:
    raw = [*found][-1]
    last = await _apart(len(raw), bson.decode, raw, CODEC)
    if "_id" not in last:
        raise InvalidParameter("cursor: the rules show no _id of these documents; use skip")
    if query.projection is not None and len(query.sort) > 1:
        # What it is sorted by may not be in the answer.
        wanted = dict.fromkeys(query.sort, 1)
        again = FindOne(namespace=asked.namespace(), filter={"_id": {"$eq": last["_id"]}}, projection=wanted)
        document = (await asked.run(again)).document
        if document is None:
            raise NotFound("the last document of the page was just deleted; ask again", code="DocumentNotFound")
        last = document if isinstance(document, dict) else await _apart(len(document), bson.decode, document, CODEC)
    return cursor_of(last, query, about, seal)


# --- one -------------------------------------------------------------------------------------------------------------


async def _insert(asked: Asked) -> Answer:
    document = with_id(check_document(asked.body))
    await asked.run(InsertOne(namespace=asked.namespace(), document=document))
    stored = shown(document)
    size = 4 * len(asked.request.body)  # values take longer to be written than bytes
    etag = await _apart(size, etag_of, stored)
    return await _apart(size, asked.answer, {"data": stored, "inserted": 1}, 201, etag)


async def _found(asked: Asked, projection: Document | None = None) -> bytes:
    """The document of the path; NotFound where it is not there."""
    which = identified(asked.request.params["id"])
    found = await asked.run(FindOne(namespace=asked.namespace(), filter=which, projection=projection))
    document = found.document
    if document is None:
        raise absent()
    return document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC)


def absent() -> NotFound:
    """The error of a document that is not there, or not the caller's."""
    return NotFound("there is no such document", code="DocumentNotFound")


async def _read(asked: Asked) -> Answer:
    wanted = read(asked.request.query).projection
    document = await _found(asked)
    etag = await _apart(len(document), etag_of, document)
    if asked.request.headers.get(b"if-none-match") == etag.encode():
        return Answer(b"", 304, ((b"etag", etag.encode()),))
    if wanted is not None:
        document = await _found(asked, wanted)
    data = await _apart(len(document), ejson.encode_document, document, asked.mode)
    return Answer(b"".join((b'{"data":', data, b"}")), headers=((b"etag", etag.encode()),))


async def _known(asked: Asked) -> tuple[bytes, Document]:
    """The document that a write is about as it is, and the filter for it: with ``If-Match``, only if it stays so."""
    before = await _found(asked)
    given = asked.request.headers.get(b"if-match")
    document = await _apart(len(before), bson.decode, before, CODEC)
    identity = document["_id"]
    which: Document = {"_id": {"$eq": identity}}
    if given is None or given.strip() == b"*":
        return before, which
    tags = [tag.strip() for tag in given.decode("latin-1").split(",")]
    if not all(len(tag) > 2 and tag[0] == tag[-1] == '"' for tag in tags):
        raise InvalidParameter("If-Match: expected an ETag in quotes, or *")
    if await _apart(len(before), etag_of, before) not in tags:
        raise _changed()
    return before, {**which, **unchanged(document)}


def unchanged(document: Document) -> Document:
    """The filter for a document that has the fields of ``document`` and no others beside the two that nobody sees."""
    fields: list[Any] = [{"$eq": [{"$size": {"$objectToArray": "$$ROOT"}}, len(document) + 2]}]
    for name, value in document.items():
        got = {"$getField": {"field": {"$literal": name}, "input": "$$ROOT"}}
        fields.append({"$eq": [got, {"$literal": value}]})
    return {"$expr": {"$and": fields}}


def _changed() -> PreconditionFailed:
    return PreconditionFailed("the document is not, or is no longer, what If-Match says")


async def _written(asked: Asked, operation: FindOneAndUpdate | FindOneAndReplace, before: bytes) -> Answer:
    """The answer to an update or a replacement of ``before``."""
    document = (await asked.run(operation)).document
    if document is None:
        await _found(asked)  # deleted in between, or changed
        raise _changed()
    after = document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC)
    word = "replaced" if isinstance(operation, FindOneAndReplace) else "updated"
    counts = {"matched": 1, "modified": int(after != before), word: 1}
    data = await _apart(len(after), ejson.encode_document, after, asked.mode)
    etag = await _apart(len(after), etag_of, after)
    tail = ejson.dumps(counts, ejson.Mode.PLAIN)[1:]
    return Answer(b"".join((b'{"data":', data, b",", tail)), headers=((b"etag", etag.encode()),))


async def _update(asked: Asked) -> Answer:
    update = check_update(asked.body, "the body")
    before, which = await _known(asked)
    return await _written(asked, FindOneAndUpdate(namespace=asked.namespace(), filter=which, update=update), before)


async def _replace(asked: Asked) -> Answer:
    replacement = check_document(asked.body, "the body")
    before, which = await _known(asked)
    identity = which["_id"]["$eq"]
    given = replacement.get("_id", identity)
    if given != identity and str(given) != asked.request.params["id"]:
        raise InvalidParameter("the body: the _id of a document stays as it is")
    replacement = {"_id": identity, **{name: value for name, value in replacement.items() if name != "_id"}}
    operation = FindOneAndReplace(namespace=asked.namespace(), filter=which, replacement=replacement)
    return await _written(asked, operation, before)


async def _delete(asked: Asked) -> Answer:
    if b"if-match" in asked.request.headers:
        _, which = await _known(asked)
    else:
        which = identified(asked.request.params["id"])
    result = await asked.run(DeleteOne(namespace=asked.namespace(), filter=which))
    if not result.deleted_count:
        await _found(asked)
        raise _changed()
    return asked.answer({"deleted": 1})
