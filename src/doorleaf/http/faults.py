"""What becomes of an error that ends a request: for its client, and for the log."""

from __future__ import annotations

from doorleaf.errors import DoorleafError, InternalError, StoreUnavailable
from doorleaf.observability import LOG, REQUEST_ID


def known(error: Exception) -> DoorleafError:
    """``error`` as one of ours; what is a fault of the server is logged, and told by its request id alone."""
    if isinstance(error, DoorleafError):
        return error
    LOG.error("internal error", exc_info=error)
    return InternalError(f"internal error; the log has it under request id {REQUEST_ID.get()}")


def reason(error: DoorleafError) -> str:
    """The reason of a failure, for the log: the message, and the kind of what is behind it, whose own text may say too
    much."""
    cause = error.__cause__
    return error.message if cause is None else f"{error.message} ({type(cause).__name__})"


def cut() -> DoorleafError:
    """The answer to a request that the end of the server cuts."""
    return StoreUnavailable(
        "the server ends, and this request was not done in time; whether a write was applied is not known",
        code="ShuttingDown",
    )
