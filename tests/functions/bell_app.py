# ruff: noqa: E501  # a trigger is a line
"""An app as App Services exports it, with triggers of every kind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from shop_app import write

from doorleaf.functions.triggers.times import now

APP_ID = "bell-abcde"

TELL = """
import os

async def main(*given):
    *events, context = given
    told = context.services.get("mongodb-atlas").db("d").collection("told")
    what = events[0] if events else {}
    await told.insert_one({"by": NAME, "what": what.get("operationType"), "user": what.get("user"), "providers": what.get("providers"),
                           "time": what.get("time"), "pid": os.getpid(), "system": context.running_as_system(), "given": len(events)})
"""
FAIL = """
async def main(event, context):
    flags = context.services.get("mongodb-atlas").db("d").collection("flags")
    await flags.insert_one({"tried": event["user"]["id"]})
    if not await flags.find_one({"_id": "well"}):
        raise ValueError("not well")
"""
CHANGED = """
import os

async def main(event, context):
    told = context.services.get("mongodb-atlas").db("d").collection("told")
    await told.insert_one({"by": NAME, "id": event.get("documentKey", {}).get("_id"), "keys": sorted(event), "pid": os.getpid(),
                           "what": event.get("operationType"), "at": event.get("ns"), "full": event.get("fullDocument"),
                           "before": event.get("fullDocumentBeforeChange")})
"""
POISONED = """
async def main(event, context):
    d = context.services.get("mongodb-atlas").db("d")
    if event["fullDocument"].get("bad") and not await d.collection("flags").find_one({"_id": event["fullDocument"]["bad"]}):
        raise ValueError("bad document")
    await d.collection("told").insert_one({"by": NAME, "id": event["documentKey"]["_id"]})
"""
JAVASCRIPT = """exports = async function (event) {
  await context.services.get('mongodb-atlas').db('d').collection('told').insertOne({ by: 'script', what: event.operationType, user: event.user, at: event.time });
}"""


def users(name: str, operation: Any, function: str, *providers: str) -> dict[str, Any]:
    config = {"operation_type": operation, "providers": list(providers or ("anon-user",))}
    return {"name": name, "type": "AUTHENTICATION", "disabled": False, "config": config, "function_name": function}


def scheduled(name: str, schedule: str, function: str, **config: Any) -> dict[str, Any]:
    processors = {"FUNCTION": {"config": {"function_name": function}}}
    return {
        "name": name,
        "type": "SCHEDULED",
        "config": {"schedule": schedule, **config},
        "event_processors": processors,
    }


ALL = ["INSERT", "UPDATE", "REPLACE", "DELETE"]


SOURCES = {"": "mongodb-atlas", "_own": "own"}
"""The data sources that are watched, a MongoDB and the embedded database, by the ends of the triggers' names."""


def changes(name: str, collection: str, *operations: str, function: str = "", **config: Any) -> dict[str, Any]:
    source = SOURCES["_own" if name.endswith("_own") else ""]
    place = {"service_name": source, "database": "d", "collection": collection}
    config = {**place, "operation_types": [*(operations or ALL)], "full_document": False, "unordered": False, **config}
    return {"name": name, "type": "DATABASE", "config": config, "function_name": function or name, "disabled": False}


PRICED = {"updateDescription.updatedFields.price": {"$exists": True}}
LATELY = now() - timedelta(hours=12)
WATCHING = [
    trigger for end in SOURCES for trigger in (
        changes(f"orders{end}", "orders", full_document=True, full_document_before_change=True),
        changes(f"bare{end}", "orders"), changes(f"poisoned{end}", "poisoned", "INSERT"), changes(f"slow{end}", "slow", "INSERT"),
        changes(f"priced{end}", "orders", "UPDATE", match=PRICED, project={"operationType": 1, "documentKey": 1}),
        changes(f"burst{end}", "burst", "INSERT", unordered=True, maximum_throughput=True),
        changes(f"anywhere{end}", "", "INSERT", "DROP_COLLECTION", database="elsewhere"),
    )
]  # fmt: skip
TRIGGERS = [
    *WATCHING, changes("lonely", "c", "INSERT", function="orders", service_name="lonely"),
    users("logins", "LOGIN", "logins"), users("made", ["CREATE"], "script"), users("gone", "DELETE", "gone"),
    users("keys", "LOGIN", "keys", "api-key"), users("ill", "CREATE", "ill"), {**users("off", "LOGIN", "off"), "disabled": True},
    scheduled("missed", "* * * * *", "missed"), scheduled("skipped", f"{LATELY:%-M %-H} * * *", "skipped", skip_catchup_events=True),
    scheduled("yearly", "0 7 1 JAN *", "yearly"),
]  # fmt: skip
PYTHON = ("logins", "gone", "keys", "off", "missed", "skipped", "yearly")
CHANGES = tuple(trigger["name"] for trigger in WATCHING)


def bell(folder: Path) -> Path:
    """An app with triggers, in ``folder``."""
    write(folder, {
        "root_config.json": {"app_id": APP_ID, "name": "bell"},
        "auth/providers.json": {name: {"name": name, "type": name, "disabled": False} for name in ("api-key", "anon-user")},
        "functions/config.json": [{"name": name, "private": True} for name in (*PYTHON, *CHANGES, "ill", "script")],
        "functions/ill.py": FAIL, "functions/script.js": JAVASCRIPT,
        **{f"functions/{name}.py": TELL.replace("NAME", repr(name)) for name in PYTHON},
        **{f"functions/{name}.py": (POISONED if "poisoned" in name else CHANGED).replace("NAME", repr(name)) for name in CHANGES},
        **{f"triggers/{trigger['name']}.json": trigger for trigger in TRIGGERS},
    })  # fmt: skip
    return folder
