"""MongoDB's error codes by whose condition they are: the caller's mistake, or the deployment's own.

The numbers and names are those of the server's list (``error_codes.yml``), the codes worth asking again after those of
the drivers' specification of retryable reads.
"""

from __future__ import annotations

from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    PermissionDenied,
    StoreTimeout,
    StoreUnavailable,
    ValidationFailed,
)

UNREACHABLE = "the database cannot be reached"
TOO_SLOW = "the operation exceeded its time limit"
OVERLOADED = "the database is overloaded; try again later"
INTERRUPTED = "the database interrupted the operation; try again"

SHUTDOWN = frozenset({91, 11600})
"""ShutdownInProgress, InterruptedAtShutdown."""

NOT_PRIMARY = SHUTDOWN | {189, 10058, 10107, 11602, 13435, 13436}
"""Codes that say the server is no longer, or not yet, the one to ask."""

RETRYABLE = NOT_PRIMARY | {6, 7, 89, 134, 262, 9001}
"""Codes after which a read is worth asking again: HostUnreachable, HostNotFound, NetworkTimeout,
ReadConcernMajorityNotAvailableYet, ExceededTimeLimit, SocketException."""

DUPLICATE_KEY = frozenset({11000, 11001, 12582})

CREDENTIALS = frozenset({18, 214, 334, 391, 392})
"""AuthenticationFailed, AuthenticationRestrictionUnmet, MechanismUnavailable, ReauthenticationRequired, InvalidJWT."""

_TIME_OVER = frozenset({50, 202, 262, 290, 407})
"""The server's category ExceededTimeLimitError: MaxTimeMSExpired, NetworkInterfaceExceededTimeLimit, ExceededTimeLimit,
TransactionExceededLifetimeLimitSeconds, PooledConnectionAcquisitionExceededTimeLimit."""

_AWAY = (
    RETRYABLE
    | {70, 74, 83, 90, 94, 95, 133, 145, 149, 190, 199, 203, 211, 216, 230, 231}
    | {279, 281, 282, 303, 310, 317, 333, 354, 372, 384, 398, 56846, 91331}
)
"""Some server of the deployment is away, shuts down, changes its role or cannot be found: among others
FailedToSatisfyReadPreference, NoConfigPrimary, KeyNotFound (of the cluster's clock), ElectionInProgress,
DNSHostNotFound, ClientDisconnect, ConnectionPoolExpired, ConnectionError, ConfigServerUnreachable."""

_OVERLOAD = frozenset({46, 107, 208, 261, 264, 365, 402, 433, 449, 450, 462})
"""LockBusy, LockFailed, TooManyLocks, TooManyLogicalSessions, TooManyFilesOpen, TemporarilyUnavailable,
ResourceExhausted, AdmissionQueueOverflow, RateLimitExceeded, PooledConnectionAcquisitionRejected,
IngressRequestRateLimitExceeded."""

_INTERRUPTION = frozenset(
    {24, 43, 63, 136, 150, 175, 237, 239, 246, 249, 250, 272, 314, 355, 358, 406, 412, 453}
    | {11601, 13388, 46841, 50915, 10045600}
)
"""The operation was cut short by something else in the deployment, and works when asked again: LockTimeout,
CursorNotFound, QueryPlanKilled, CursorKilled, the stale versions of sharding, snapshots, Interrupted and the like."""

_CONDITIONS = {
    14031: "the database has no disk space left",
    371: "the database takes no writes at present: its operator blocked them",
    301: "the database found its own data damaged",
}


def refusal(number: int, message: str, *, code: str | None = None) -> DoorleafError:
    """The error for MongoDB's ``number``. ``message`` is the server's own, without addresses."""
    if number in DUPLICATE_KEY:
        return DuplicateKey(message)
    if number == 121:
        return ValidationFailed(message)
    if number in _TIME_OVER:
        return StoreTimeout(message if number == 50 else TOO_SLOW)
    if number == 13:
        return PermissionDenied(message, code="Unauthorized")
    if number in _AWAY:
        return StoreUnavailable(UNREACHABLE)
    if number in _OVERLOAD:
        return StoreUnavailable(OVERLOADED)
    if number in _INTERRUPTION:
        return StoreUnavailable(INTERRUPTED)
    if number in _CONDITIONS:
        return StoreUnavailable(_CONDITIONS[number])
    return DataError(message, number=number, code=code)
