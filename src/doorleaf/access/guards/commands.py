"""Which database commands ``runCommand`` takes: an allow list with the fields of each, and what no setting allows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from doorleaf.access.guards.operators import Reached, Scan
from doorleaf.documents import Document, is_string
from doorleaf.errors import InvalidParameter, PermissionDenied

_EVERYWHERE = frozenset({"comment", "maxTimeMS", "readConcern"})

HARMLESS: dict[str, frozenset[str] | None] = {
    "ping": frozenset(),
    "buildInfo": frozenset(),
    "hello": frozenset(),
    "isMaster": frozenset(),
    "hostInfo": frozenset(),
    "serverStatus": None,
    "connectionStatus": frozenset({"showPrivileges"}),
    "dbStats": frozenset({"scale", "freeStorage"}),
    "collStats": frozenset({"scale"}),
    "dataSize": frozenset({"keyPattern", "min", "max", "estimate"}),
    "validate": frozenset({"full"}),
    "count": frozenset({"query", "limit", "skip", "hint", "collation", "fields"}),
    "distinct": frozenset({"key", "query", "collation", "hint"}),
    "listCollections": frozenset({"filter", "nameOnly", "authorizedCollections", "cursor"}),
    "listIndexes": frozenset({"cursor"}),
    "listDatabases": frozenset({"filter", "nameOnly", "authorizedDatabases"}),
    "explain": frozenset({"verbosity"}),
}
"""The commands allowed by default, and the fields each may have beside its name; None is any."""

EXPLAINED = frozenset({"find", "aggregate", "count", "distinct", "update", "delete", "findAndModify"})
"""What ``explain`` may explain; it runs none of the writes."""

NEVER = frozenset(
    {"eval", "mapreduce", "shutdown", "fsync", "fsyncunlock", "setparameter", "getparameter"}
    | {"killop", "killcursors", "killsessions", "killallsessions", "killallsessionsbypattern", "currentop", "getmore"}
    | {"createuser", "updateuser", "dropuser", "dropallusersfromdatabase", "usersinfo", "grantrolestouser"}
    | {"revokerolesfromuser", "createrole", "updaterole", "droprole", "dropallrolesfromdatabase", "rolesinfo"}
    | {"grantprivilegestorole", "revokeprivilegesfromrole", "grantrolestorole", "revokerolesfromrole"}
    | {"invalidateusercache", "authenticate", "saslstart", "saslcontinue", "logout", "getnonce", "authschemaupgrade"}
    | {"applyops", "dotxn", "committransaction", "aborttransaction", "preparetransaction", "startsession"}
    | {"refreshsessions", "endsessions", "getlog", "logrotate", "getcmdlineopts", "setdefaultrwconcern"}
    | {"setfeaturecompatibilityversion", "configurefailpoint", "setindexcommitquorum", "copydb", "clone"}
    | {"clonecollection", "profile"}
    | {"setauditconfig", "getauditconfig", "rotatecertificates", "dropconnections", "addshard", "removeshard"}
    | {"enablesharding", "shardcollection", "reshardcollection", "movechunk", "moveprimary", "movecollection"}
    | {"split", "splitvector", "mergechunks", "balancerstart", "balancerstop", "flushrouterconfig", "bulkwrite"}
    | {"setclusterparameter", "setusewritebackpolicy", "transitiontodedicatedconfigserver", "sleep", "godinsert"}
)
"""Commands that no setting allows, in lower case: server-side JavaScript, users and roles, shutdown and operation of
the server, sessions, and replication and sharding (``replSet…`` and ``_…`` by their beginning)."""

_NEVER_BEGINNINGS = ("replset", "_", "$", "shardsvr", "configsvr", "clusteraggregate")

_READS = frozenset({"find", "aggregate", "count", "distinct", "explain", "dbHash", "listCommands"}) | HARMLESS.keys()
WHOLE_NAMESPACES = {"dataSize": ("dataSize",), "renameCollection": ("renameCollection", "to")}
"""Commands with fields that name a collection together with its database."""
_ADMIN_ONLY = frozenset({"renameCollection"})

SESSION_FIELDS = frozenset({"lsid", "txnNumber", "autocommit", "startTransaction", "apiStrict", "apiVersion"})
"""Fields of a command that are the driver's to set."""


class Commands:
    """The allow list of one server: the harmless ones and ``allow``, which must not name any of :data:`NEVER`."""

    def __init__(self, allow: Iterable[str], scan: Scan, namespace: Reached) -> None:
        self._scan = scan
        self._namespace = namespace
        widened = frozenset(allow)
        for name in sorted(widened):
            if _never(name):
                raise ValueError(f"run_command_allow: {name} can never be allowed")
        self._allowed = widened | HARMLESS.keys()

    def check(self, command: Document, database: str) -> None:
        """Return if ``command`` may run on ``database``; its first key is the command's name."""
        name = next(iter(command), None)
        if name is None:
            raise InvalidParameter("command: expected an object whose first key is the command's name")
        self._name(name)
        _fields(name, command, HARMLESS.get(name))
        if name == "explain":
            self._explained(command[name], database)
        else:
            self._body(name, command, database)

    def _name(self, name: str) -> None:
        if name in self._allowed:
            return
        if _never(name):
            raise PermissionDenied(f"the command {name[:60]!r} is never allowed")
        near = [allowed for allowed in self._allowed if allowed.lower() == name.lower()]
        near = near or difflib.get_close_matches(name[:60], self._allowed, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PermissionDenied(f"the command {name[:60]!r} is not allowed{hint}")

    def _explained(self, command: Any, database: str) -> None:
        if not isinstance(command, dict) or not command:
            raise InvalidParameter("command.explain: expected an object, the command to explain")
        name = next(iter(command))
        if name not in EXPLAINED:
            raise PermissionDenied(f"explain does not take the command {name[:60]!r}")
        _fields(name, command, None)
        self._body(name, command, database)

    def _body(self, name: str, command: Document, database: str) -> None:
        target = command[name]
        if name not in _READS and database in ("admin", "local", "config") and name not in _ADMIN_ONLY:
            raise PermissionDenied(f"the command {name!r} does not run on the server's own database {database!r}")
        whole = WHOLE_NAMESPACES.get(name)
        if whole is not None:
            for key in whole:
                self._whole(command.get(key), key, writing=name not in _READS)
        elif is_string(target):
            self._namespace(database, target, writing=name not in _READS)
        for key, value in command.items():
            if key == "pipeline" and isinstance(value, list):
                self._scan.pipeline(value, database, output=name != "create")
            elif key != "documents":
                self._scan.expressions(value)
                if key in _LISTS:
                    continue
                # An update may be a pipeline, of a findAndModify or in each of several updates.
                for update in value if key == "updates" and isinstance(value, list) else ({"u": value},):
                    self._scan.stages(update.get("u") if isinstance(update, dict) else None)

    def _whole(self, namespace: Any, key: str, *, writing: bool) -> None:
        """Check a namespace that a command takes as the text ``database.collection``."""
        if not is_string(namespace):
            raise InvalidParameter(f"command.{key}: expected a string, database.collection")
        database, _, collection = namespace.partition(".")
        self._namespace(database, collection, writing=writing)


_LISTS = frozenset(("indexes", "deletes"))
"""Fields that are lists of documents and no pipelines."""


def is_read(name: str) -> bool:
    """Whether the command ``name`` changes nothing."""
    return name in _READS


def _fields(name: str, command: Document, allowed: frozenset[str] | None) -> None:
    for key in command:
        if key == name:
            continue
        if key.startswith("$") or key in SESSION_FIELDS:
            raise InvalidParameter(f"command: {key[:60]!r} cannot be set in a command")
        if allowed is not None and key not in allowed and key not in _EVERYWHERE:
            raise InvalidParameter(f"command: {name} has no field {key[:60]!r} here")


def _never(name: str) -> bool:
    lower = name.lower()
    return lower in NEVER or lower.startswith(_NEVER_BEGINNINGS)
