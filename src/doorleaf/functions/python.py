"""Functions in Python: the operator's own code, in the server's process, with the context that JavaScript has."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError, FunctionFailed, FunctionTimeout, InvalidParameter
from doorleaf.functions.call import Call
from doorleaf.functions.request import request_told
from doorleaf.functions.utils import Utils
from doorleaf.operations.results import (
    CountResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    Result,
    camel,
)

P = ParamSpec("P")
T = TypeVar("T")
UTILS = Utils()
WRITE_CONFLICT = 112
"""MongoDB's number for a transaction that another one was in the way of."""
MOST_ATTEMPTS = 20


async def run(call: Call, arguments: list[Any]) -> Any:
    """Call ``main(*arguments, context)`` of the function. Raises FunctionFailed and FunctionTimeout."""
    try:
        main = call.version.python(call.function)
        if not callable(main):
            raise FunctionFailed(f"{call.function.file} has no function main")
        async with asyncio.timeout(call.seconds) as call.limit:
            answer = main(*arguments, Context(call))
            return await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        raise FunctionTimeout("the function took longer than it may") from None
    except DoorleafError:
        raise
    except Exception as error:
        failed = FunctionFailed(str(error)[:2000] or type(error).__name__)
        failed.thrown, failed.stack = type(error).__name__, "".join(traceback.format_exception(error))[-4000:]
        raise failed from None


class Context:
    """The value that a function is given beside its arguments, as ``context`` is in JavaScript."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.values = Values(call.version.values)
        self.environment: Document = call.version.environment
        self.app: Document = call.version.app
        self.user: Document = call.user
        self.functions = Others(call)
        self.services = Services(call)
        self.http = Http(call)
        self.utils = UTILS

    @property
    def request(self) -> Document:
        """The HTTP request, as ``%%request`` in rules."""
        return request_told(self._call.http)

    def running_as_system(self) -> bool:
        """Whether no rules are asked."""
        return self._call.identity.kind == "system"

    def log(self, text: object, level: int = logging.INFO) -> None:
        """Write a line to the server's log."""
        self._call.log(level, str(text)[:5000])

    async def run_in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work``, which may block, in a thread: everybody else goes on meanwhile."""
        return await asyncio.to_thread(work, *args, **kwargs)


class Values:
    """The app's values by name."""

    def __init__(self, values: Document) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        """The value; None where there is none."""
        return self._values.get(name)


class Others:
    """The other functions of the app."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def execute(self, name: str, *arguments: Any) -> Any:
        """Call another function."""
        return await self._call.execute(name, list(arguments))


class Services:
    """The data sources by name."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get(self, name: str) -> Service:
        """The data source; InvalidParameter where there is none such."""
        if name not in self._call.version.sources:
            raise InvalidParameter(f"there is no data source {name[:100]!r}")
        return Service(self._call, name)


class Service:
    """A data source."""

    def __init__(self, call: Call, source: str) -> None:
        self._call, self._source = call, source

    def db(self, name: str) -> Database:
        return Database(self._call, self._source, name)

    def start_session(self) -> Session:
        """A session to make transactions with. Where the data source has none, their first operation is refused."""
        return Session(self._call)


class Database:
    """A database of a data source."""

    def __init__(self, call: Call, source: str, name: str) -> None:
        self._call, self._source, self.name = call, source, name

    def collection(self, name: str) -> Collection:
        return Collection(self._call, {"source": self._source, "database": self.name, "collection": name})


class Collection:
    """A collection. Options have the names of the actions' fields, in camelCase or snake_case."""

    def __init__(self, call: Call, place: Document) -> None:
        self._call, self._place = call, place

    async def _run(self, action: str, fields: Document, options: Document) -> Any:
        session = options.get("session")
        named = {name if name in fields else camel(name): value for name, value in options.items() if name != "session"}
        given = {**fields, **named}
        asked = {**self._place, "action": action, "fields": {name: it for name, it in given.items() if it is not None}}
        if session is not None and not isinstance(session, Session):
            raise InvalidParameter("session: expected what start_session gave")
        part = () if session is None else session.part()
        return _plain(await self._call.run(asked, *part))

    def find(self, filter: Document | None = None, projection: Document | None = None, **options: Any) -> Cursor:
        return Cursor(self, "find", {"filter": filter or {}, "projection": projection}, options)

    def aggregate(self, pipeline: list[Document], **options: Any) -> Cursor:
        return Cursor(self, "aggregate", {"pipeline": pipeline}, options)

    async def find_one(
        self, filter: Document | None = None, projection: Document | None = None, **options: Any
    ) -> Document | None:
        found: Document | None = await self._run("findOne", {"filter": filter or {}, "projection": projection}, options)
        return found

    async def find_one_and_update(self, filter: Document, update: Any, **options: Any) -> Document | None:
        fields = {"filter": filter, "update": update, "returnNewDocument": False}
        found: Document | None = await self._run("findOneAndUpdate", fields, options)
        return found

    async def find_one_and_replace(self, filter: Document, replacement: Document, **options: Any) -> Document | None:
        fields = {"filter": filter, "replacement": replacement, "returnNewDocument": False}
        found: Document | None = await self._run("findOneAndReplace", fields, options)
        return found

    async def find_one_and_delete(self, filter: Document, **options: Any) -> Document | None:
        found: Document | None = await self._run("findOneAndDelete", {"filter": filter}, options)
        return found

    async def insert_one(self, document: Document, **options: Any) -> Any:
        return await self._run("insertOne", {"document": document}, options)

    async def insert_many(self, documents: list[Document], **options: Any) -> Any:
        return await self._run("insertMany", {"documents": documents}, options)

    async def update_one(self, filter: Document, update: Any, **options: Any) -> Any:
        return await self._run("updateOne", {"filter": filter, "update": update}, options)

    async def update_many(self, filter: Document, update: Any, **options: Any) -> Any:
        return await self._run("updateMany", {"filter": filter, "update": update}, options)

    async def replace_one(self, filter: Document, replacement: Document, **options: Any) -> Any:
        return await self._run("replaceOne", {"filter": filter, "replacement": replacement}, options)

    async def delete_one(self, filter: Document, **options: Any) -> Any:
        return await self._run("deleteOne", {"filter": filter}, options)

    async def delete_many(self, filter: Document, **options: Any) -> Any:
        return await self._run("deleteMany", {"filter": filter}, options)

    async def count(self, filter: Document | None = None, **options: Any) -> int:
        counted: int = await self._run("countDocuments", {"filter": filter or {}}, options)
        return counted

    async def distinct(self, key: str, filter: Document | None = None, **options: Any) -> list[Any]:
        values: list[Any] = await self._run("distinct", {"key": key, "filter": filter or {}}, options)
        return values

    async def bulk_write(self, operations: list[Document], **options: Any) -> Any:
        return await self._run("bulkWrite", {"operations": operations}, options)


class Session:
    """One transaction at a time, for operations that are called with ``session=``. What is open when the function ends
    is aborted, and so is what an error comes in between."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._number = 0
        self._begins: Document = {}
        self._is_begun = False
        self._was_aborted = False
        self._has_ended = False

    def part(self) -> tuple[int, Document] | tuple[()]:
        """The number of the open transaction and the options to begin it with, for one of its operations, the first of
        which begins it; empty outside of a transaction."""
        self._require_living()
        self._is_begun = True
        return (self._number, self._begins) if self._number else ()

    def start_transaction(self, **options: Any) -> None:
        """Begin a transaction. Options are ``read_concern`` and ``write_concern``, as documents."""
        self._require_living()
        if self._number:
            raise InvalidParameter("the session has a transaction already")
        self._number = self._call.number()
        self._begins, self._is_begun = {camel(name): value for name, value in options.items()}, False

    async def commit_transaction(self) -> None:
        """Make what was done last."""
        if not self._number:
            raise InvalidParameter("the session has no transaction")
        await self._end(commit=True)

    async def abort_transaction(self) -> None:
        """Take back what was done; nothing is left to do where the last transaction was aborted already."""
        if self._number:
            await self._end(commit=False)
        elif not self._was_aborted:
            raise InvalidParameter("the session has no transaction")

    async def end_session(self) -> None:
        """Abort what is open; nothing more can be part of the session."""
        self._has_ended = True
        if self._number:
            await self._end(commit=False)

    def _require_living(self) -> None:
        if self._has_ended:  # what is no part of a transaction must not look like one
            raise InvalidParameter("the session has ended")

    async def with_transaction(self, work: Callable[[Session], Awaitable[T]], **options: Any) -> T:
        """Do ``work(session)`` in a transaction, commit it, and return what it returned. It is done again where it
        meets another write, at most :data:`MOST_ATTEMPTS` times; other errors abort the transaction and are raised."""
        for attempt in range(MOST_ATTEMPTS):
            self.start_transaction(**options)
            try:
                result = await work(self)
                if self._number:
                    await self.commit_transaction()
                return result
            except BaseException as error:
                with contextlib.suppress(DoorleafError):  # the first error is the one to tell
                    await self.abort_transaction()
                if getattr(error, "number", None) != WRITE_CONFLICT or attempt == MOST_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt ends above")

    async def _end(self, *, commit: bool) -> None:
        number, self._number = self._number, 0
        self._was_aborted = True  # also by a commit that fails
        if self._is_begun:
            await self._call.end_transaction(number, commit=commit)
        self._was_aborted = not commit


class Cursor:
    """Documents that are read when they are first asked for."""

    def __init__(self, collection: Collection, action: str, fields: Document, options: Document) -> None:
        self._collection, self._action, self._fields, self._options = collection, action, fields, options
        self._left: list[Document] | None = None

    def sort(self, order: Document) -> Cursor:
        self._options["sort"] = order
        return self

    def limit(self, count: int) -> Cursor:
        self._options["limit"] = count
        return self

    def skip(self, count: int) -> Cursor:
        self._options["skip"] = count
        return self

    async def to_list(self) -> list[Document]:
        """All documents."""
        found: list[Document] = await self._collection._run(self._action, self._fields, self._options)
        return found

    async def next(self) -> Document | None:
        """The next document; None behind the last."""
        if self._left is None:
            self._left = (await self.to_list())[::-1]
        return self._left.pop() if self._left else None

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self.to_list():
            yield document


class Http:
    """Requests to other servers, those that the setting ``functions_http_allow`` has."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: str | bytes | None = None,
        follow: bool = False,
    ) -> Document:
        """The answer: ``{status, statusCode, headers, body: {text} or {base64}}``."""
        asked = {"method": method.upper(), "url": url, "headers": headers or {}, "follow": follow}
        if isinstance(body, bytes):
            return await self._call.send({**asked, "body": {"base64": b64encode(body).decode()}})
        return await self._call.send({**asked, "body": None if body is None else {"text": body}})

    async def get(self, url: str, **options: Any) -> Document:
        """The answer to a GET, with the options of :meth:`request`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Document:
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Any) -> Document:
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Any) -> Document:
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Any) -> Document:
        return await self.request("DELETE", url, **options)

    async def head(self, url: str, **options: Any) -> Document:
        return await self.request("HEAD", url, **options)


def _plain(result: Result) -> Any:
    """The bare value of a result."""
    if type(result) is DocumentResult:
        document = result.document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document
    if type(result) is DocumentsResult:
        return result.documents.decode()
    if type(result) is CountResult:
        return result.count
    if type(result) is DistinctResult:
        return result.values
    return result.wire()
