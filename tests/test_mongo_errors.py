"""PyMongo's exceptions and MongoDB's codes as our errors."""

from __future__ import annotations

import time
from typing import Any

import bson
import pytest
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import errors as driver

from doorleaf.documents import Document
from doorleaf.errors import (
    MOST_TOLD,
    DataError,
    DoorleafError,
    DuplicateKey,
    InternalError,
    InvalidParameter,
    PermissionDenied,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
    ValidationFailed,
    WriteOutcomeUnknown,
)
from doorleaf.stores.mongo.bulks import insert_failed
from doorleaf.stores.mongo.errors import Misconfigured, mapped, mapped_write, without_addresses, write_error


def half_a_pair() -> UnicodeError:
    """What making BSON of such a string raises: a function in Python may have one."""
    with pytest.raises(UnicodeEncodeError) as raised:
        bson.encode({"a": "\ud800"})
    return raised.value


def failure(code: int, message: str = "no", **details: Any) -> driver.OperationFailure:
    return driver.OperationFailure(message, code, {"errmsg": message, "code": code, **details})


@pytest.mark.parametrize(
    ("error", "kind", "number"),
    [
        (failure(2), DataError, 2),
        (failure(13), PermissionDenied, None),
        (failure(13, "command find requires authentication"), Misconfigured, None),
        (failure(13, "Resume token namespace does not match the change-stream watch scope"), DataError, 260),
        (failure(13, "not authorized on a to execute command { find: 'resume token' }"), PermissionDenied, None),
        (failure(18), Misconfigured, None),
        (failure(8000, "bad auth : authentication failed"), Misconfigured, None),
        (failure(8000, "user is not allowed to do action [find] on [a.b]"), PermissionDenied, None),
        (failure(8000, "cannot create a new collection -- already using 500 of 500"), DataError, 8000),
        (failure(50), StoreTimeout, None),
        (failure(202), StoreTimeout, None),
        (failure(262), StoreTimeout, None),
        (failure(64), WriteOutcomeUnknown, None),
        (failure(133), StoreUnavailable, None),
        (failure(134), StoreUnavailable, None),
        (failure(365), StoreUnavailable, None),
        (failure(462), StoreUnavailable, None),
        (failure(43), StoreUnavailable, None),
        (failure(11601), StoreUnavailable, None),
        (failure(14031), StoreUnavailable, None),
        (failure(112), DataError, 112),
        (failure(121), ValidationFailed, 121),
        (failure(11000), DuplicateKey, 11000),
        (failure(11600), StoreUnavailable, None),
        (failure(40324), DataError, 40324),
        (driver.OperationFailure("no code"), DataError, 8),
        (driver.DuplicateKeyError("dup", 11000, {"errmsg": "dup", "code": 11000}), DuplicateKey, 11000),
        (driver.ExecutionTimeout("slow", 50), StoreTimeout, None),
        (driver.WTimeoutError("slow", 64), WriteOutcomeUnknown, None),
        (driver.WriteConcernError("few", 100), WriteOutcomeUnknown, None),
        (driver.NetworkTimeout("db.example.com:27017: timed out"), StoreTimeout, None),
        (driver.AutoReconnect("db.example.com:27017: connection closed"), StoreUnavailable, None),
        (driver.NotPrimaryError("not primary"), StoreUnavailable, None),
        (driver.ServerSelectionTimeoutError("db.example.com:27017: refused"), StoreUnavailable, None),
        (driver.WaitQueueTimeoutError("db.example.com:27017 busy"), StoreUnavailable, None),
        (driver.InvalidName("bad"), DataError, 73),
        (driver.InvalidOperation("Cannot use AsyncMongoClient after close"), StoreUnavailable, None),
        (driver.ConfigurationError("not there"), Unsupported, None),
        (driver.ConfigurationError("Invalid SRV host: db.example.com"), Misconfigured, None),
        (driver.ConfigurationError("Server at db.example.com:1 requires wire version 0"), Misconfigured, None),
        (driver.ProtocolError("Got response id 1 but expected 2"), StoreUnavailable, None),
        (driver.DocumentTooLarge("big"), DataError, 10334),
        (InvalidDocument("cannot encode object"), InvalidParameter, None),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), InvalidParameter, None),
        (half_a_pair(), InvalidParameter, None),
        (driver.PyMongoError("what"), InternalError, None),
    ],
)
def test_every_exception_of_the_driver_has_its_error(
    error: Exception, kind: type[DoorleafError], number: int | None
) -> None:
    told = mapped(error)
    assert type(told) is kind
    assert getattr(told, "number", None) == number
    assert "example.com" not in told.message


REASONS: Document = {"failingDocumentId": 1, "details": {"operatorName": "$eq", "reason": "comparison failed"}}


@pytest.mark.parametrize("raw", [False, True])
def test_the_reasons_of_a_validator_are_passed_on(raw: bool) -> None:
    reasons = RawBSONDocument(bson.encode(REASONS)) if raw else REASONS
    assert mapped(failure(121, errInfo=reasons)).fields == {"errInfo": REASONS}
    entry = {"index": 1, "code": 121, "errmsg": "no", "errInfo": reasons}
    told = mapped(driver.OperationFailure("no", 121, {"writeErrors": [entry]}))
    assert told.fields == {"errInfo": REASONS}
    several = insert_failed(driver.BulkWriteError({"writeErrors": [entry]}), [5, 6], ordered=True)
    entries = [{"index": 1, "code": 121, "message": "no", "errInfo": REASONS}]
    assert several.fields == {"insertedCount": 1, "insertedIds": [5], "writeErrors": entries}
    long = {"failingDocumentId": "x" * 2_000_000}
    shortened = mapped(failure(121, errInfo=RawBSONDocument(bson.encode(long)) if raw else long))
    assert shortened.fields == {"errInfo": {"note": "detailed error was too large"}}
    # Of other errors nothing is passed on that nobody knows.
    assert not mapped(failure(2, errInfo=reasons)).fields


def test_the_reasons_in_one_answer_are_bounded() -> None:
    entries = [
        {"index": index, "code": 121, "errmsg": "no", "errInfo": {"failingDocumentId": "x" * 300_000}}
        for index in range(5)
    ]
    several = insert_failed(driver.BulkWriteError({"writeErrors": entries}), [*range(5)], ordered=False)
    assert ["errInfo" in entry for entry in several.fields["writeErrors"]] == [True, True, True, False, False]


def attempted(number: int, last: Exception | None, error: Exception) -> Exception:
    """``error`` as it comes out of the driver's loop, after ``number`` attempts of which ``last`` was the latest."""

    class Loop:
        def __init__(self) -> None:
            self._attempt_number, self._last_error = number, last

        def run(self) -> None:
            raise error

    try:
        Loop().run()
    except type(error) as caught:
        return caught
    raise AssertionError


BROKEN = driver.AutoReconnect("db.example.com:27017: connection closed")


def labelled(error: driver.PyMongoError, *labels: str) -> driver.PyMongoError:
    for label in labels:
        error._add_error_label(label)
    return error


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (BROKEN, True),
        (driver.NetworkTimeout("timed out"), True),
        (driver.ProtocolError("Got response id 1 but expected 2"), True),
        (TimeoutError(), True),
        (driver.WTimeoutError("slow", 64), True),
        (driver.ServerSelectionTimeoutError("refused"), False),
        (driver.WaitQueueTimeoutError("busy"), False),
        (driver.NotPrimaryError("not primary"), False),
        (driver.AutoReconnect("connection pool paused"), False),
        (labelled(driver.AutoReconnect("refused"), "SystemOverloadedError", "RetryableError"), False),
        (labelled(driver.AutoReconnect("closed"), "TransientTransactionError"), False),
        (labelled(driver.AutoReconnect("closed"), "UnknownTransactionCommitResult"), True),
        (failure(2), False),
        (failure(462), False),
        (failure(91), False),
        (half_a_pair(), False),
        # What a second attempt meets does not tell what became of the first.
        (attempted(0, None, driver.NotPrimaryError("not primary")), False),
        (attempted(1, driver.NotPrimaryError("one"), driver.NotPrimaryError("two")), False),
        (attempted(1, BROKEN, driver.NotPrimaryError("not primary")), True),
        (attempted(1, BROKEN, driver.WaitQueueTimeoutError("busy")), True),
        (attempted(1, BROKEN, labelled(driver.AutoReconnect("refused"), "SystemOverloadedError")), True),
        (attempted(1, BROKEN, failure(50)), True),
        (attempted(2, driver.NotPrimaryError("two"), driver.NotPrimaryError("three")), True),
        (attempted(3, labelled(failure(462), "NoWritesPerformed"), failure(462)), False),
        (attempted(1, BROKEN, driver.DuplicateKeyError("dup", 11000, {"code": 11000})), False),
    ],
)
def test_a_write_that_may_have_been_done_is_told_so(error: Exception, unknown: bool) -> None:
    told = mapped_write(error)
    assert isinstance(told, WriteOutcomeUnknown) is unknown, told
    assert "cannot be reached" not in told.message or not unknown
    if unknown:
        assert (told.status, told.code) == (504, "WriteOutcomeUnknown")


def test_no_message_is_too_long_to_look_for_addresses() -> None:
    """A server quotes what a client sent; the time must not grow with the square of it."""
    began = time.thread_time()
    for quoted in ("a" * 1_900, "a." * 950, "a-." * 600) * 100:
        assert quoted[:900] in without_addresses(f"unknown operator: {quoted}")
    assert time.thread_time() - began < 2, "of which it takes a hundredth, and took double"
    for quoted in ("a" * 400_000, "a." * 200_000, "x " + "db1.example.com:27017," * 20_000):
        shown = without_addresses(f"unknown operator: {quoted}")
        assert len(shown) <= 1_000
        assert "27017" not in shown
        assert shown.startswith("unknown operator:")
    told = write_error({"index": 3, "code": 11000, "errmsg": 'E11000 dup key: { _id: "' + "x" * 100_000 + '" }'})
    assert told.message.startswith('E11000 dup key: { _id: "xxx')
    assert len(told.message) <= MOST_TOLD


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("connection to db1.example.com:27017 closed", "connection to (address) closed"),
        ("10.0.0.7:27018 says no", "(address) says no"),
        ("localhost:27017: refused", "(address): refused"),
        ("mongo.localhost:27017, my-localhost:27017: refused", "(address), (address): refused"),
        ("db1.example.com:27017,db2.example.com.:27018", "(address),(address)"),
        ("[::1]:27017 refused", "(address) refused"),
        ("bad uri mongodb://me:secret@db/x", "bad uri (uri)"),
        ("the field a.b: 5 is bad", "the field a.b: 5 is bad"),
    ],
)
def test_addresses_are_cut_out(message: str, shown: str) -> None:
    assert without_addresses(message) == shown
    assert failure(2, message).code == 2
    assert mapped(failure(2, message)).message == shown


def test_names_and_texts_of_the_server_are_kept() -> None:
    told = mapped(failure(5678, "a rule of the server", codeName="SomethingNew"))
    assert (told.code, told.message) == ("SomethingNew", "a rule of the server")
    for odd in (5, {"a": 1}, "N" * 101, "mongodb://me:secret@db/x", ""):
        assert mapped(failure(5678, "n", codeName=odd)).code == "Location5678"
    duplicate = mapped(failure(11000, 'dup key: { host: "db.example.com:27017" }'))
    assert duplicate.message == 'dup key: { host: "db.example.com:27017" }'
