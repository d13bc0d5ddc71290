# ruff: noqa: E501  # a function is a line
"""An app as App Services exports it: endpoints, functions, values, secrets, packages, rules and a trigger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

APP_ID = "shop-abcde"
COLLECTION = "context.services.get('mongodb-atlas').db('shop').collection"

FUNCTIONS: dict[str, str] = {
    "hello": "exports = async function (request, response) { return 'Hello, world!' }",
    "latest": "exports = async () => ({ when: new Date(1683248523456), long: BSON.Long('9007199254740993'), n: 5, half: 0.5 })",
    "echo": """exports = async function (request, response) {
      response.setStatusCode(201);
      response.setHeader('X-Method', context.request.httpMethod);
      response.addHeader('X-Many', '1');
      response.addHeader('X-Many', '2');
      response.setHeader('Content-Type', 'text/plain');
      response.setBody(`${request.query.a}|${request.headers['X-Given'][0]}|${request.body.text()}|${context.request.rawQueryString}`);
    }""",
    "add_thing": f"exports = async function (request) {{ return (await {COLLECTION}('things').insertOne(EJSON.parse(request.body.text()))).insertedId }}",
    "things": f"exports = async function () {{ return {COLLECTION}('things').find().sort({{ _id: 1 }}).toArray() }}",
    "mine": f"exports = async function () {{ return {{ user: context.user.id, type: context.user.type, system: context.runningAsSystem(), found: await {COLLECTION}('notes').find({{}}).sort({{ _id: 1 }}).toArray() }} }}",
    "all_notes": f"exports = async function () {{ return {COLLECTION}('notes').find({{}}).sort({{ _id: 1 }}).toArray() }}",
    "through": "exports = async function () { return { mine: await context.functions.execute('mine'), all: await context.functions.execute('all_notes'), sum: context.functions.execute('sum', 2, 3) } }",
    "sum": "exports = (a, b) => a + b",
    "given": "exports = (...given) => given",
    "kinds": "exports = (...given) => given.map((one) => typeof one)",
    "lets_in": """exports = async function ({ ticket, answer }) {
      if (answer !== undefined) return answer;
      if (ticket !== 'open sesame') throw new Error(`no ticket, ${context.runningAsSystem()}`);
      return { id: 'ali', name: 'Ali Baba' };
    }""",
    "hidden": "exports = () => 'never seen'",
    "guarded": "exports = (n) => n * 2",
    "told": "exports = () => ({ limit: context.values.get('limit'), key: context.values.get('key'), none: context.values.get('none'), environment: context.environment, app: context.app.clientAppId })",
    "packed": "const pad = require('left'); const scoped = require('@scope/two'); exports = () => [pad('5', 3), scoped.two, require('left/inner').name, require('left/data.json').a]",
    "throws": "exports = () => { throw new Error('no such thing') }",
    "duplicate": f"exports = async function () {{ const c = {COLLECTION}('things'); await c.insertOne({{ _id: 'same' }}); try {{ await c.insertOne({{ _id: 'same' }}) }} catch (error) {{ return [error.code, error.name] }} finally {{ await c.deleteOne({{ _id: 'same' }}) }} }}",
    "arrived": f"exports = async function (event) {{ await {COLLECTION}('welcomes').insertOne({{ _id: event.fullDocument.name, by: context.values.get('limit') }}) }}",
    "signed": "exports = (request) => `signed: ${request.body.text()}`",
    "forbidden": f"exports = () => {COLLECTION}('secrets').findOne({{}})",
    "every": f"""exports = async function () {{
      const c = {COLLECTION}('every'), told = [];
      await c.deleteMany({{}});
      told.push((await c.insertMany([{{ _id: 1, n: 1 }}, {{ _id: 2, n: 2 }}, {{ _id: 3, n: 3 }}])).insertedIds);
      told.push(await c.updateOne({{ _id: 1 }}, {{ $set: {{ n: 10 }} }}), await c.updateMany({{}}, {{ $inc: {{ n: 1 }} }}));
      told.push(await c.findOneAndUpdate({{ _id: 1 }}, {{ $inc: {{ n: 1 }} }}, {{ returnNewDocument: true }}));
      told.push(await c.findOneAndReplace({{ _id: 2 }}, {{ n: 20 }}), await c.findOneAndDelete({{ _id: 3 }}));
      told.push(await c.count({{}}), await c.distinct('n'), (await c.aggregate([{{ $group: {{ _id: null, s: {{ $sum: '$n' }} }} }}]).toArray())[0].s);
      told.push((await c.bulkWrite([{{ insertOne: {{ document: {{ _id: 9 }} }} }}, {{ deleteOne: {{ filter: {{ _id: 9 }} }} }}])).deletedCount);
      const cursor = c.find({{}}, {{ n: 1 }}).sort({{ _id: 1 }}).limit(2);
      told.push(await cursor.next(), await cursor.next(), await cursor.next());
      for await (const one of c.find({{}}).skip(1)) told.push(one._id);
      told.push((await c.deleteOne({{ _id: 1 }})).deletedCount);
      return told;
    }}""",
    "fetches": "exports = async function (request) { try { return (await context.http.get({ url: request.query.url })).body.text() } catch (error) { return `${error.message}` } }",
    "crypto": "exports = () => [utils.crypto.hash('sha256', 'a').toHexString(), utils.crypto.hmac('{ \"message\": \"Hello!\" }', 'Super5ecr3tPa55w0rd', 'sha256', 'hex'), utils.jwt.decode(utils.jwt.encode('HS256', { sub: 'x', exp: 4000000000 }, 'k'.repeat(32)), 'k'.repeat(32)).sub]",
    "old": f"""// This function is the endpoint's request handler.
    exports = async function({{ query, headers, body}}, response) {{
        const {{arg, limit}} = query;
        const contentTypes = headers["Content-Type"];
        const {{ uuid }} = require("uuidish"), doc = EJSON.parse(body.text());
        const _id = new BSON.ObjectId(), items = {COLLECTION}("old");
        await items.deleteMany({{}});
        await items.insertOne({{ _id, ...doc, uuid: uuid() }});
        const found = await items.findOne({{ _id: BSON.ObjectId(_id.toString()) }});
        if (!(found.when instanceof Date) || !found._id.equals(_id) || found.uuid.length !== 36) throw new Error("not as it was");
        const result = await items.find({{}}, {{ _id: 0, uuid: 0 }}).sort({{ count: -1 }}).limit(parseInt(limit)).toArray();
        const page = new URL("https://example.com/a?limit=" + limit);
        page.searchParams.set("next", "1 2");
        const hash = require("crypto").createHash("sha256").update(arg).copy().update(doc.name).digest("hex");
        response.setStatusCode(200);
        response.setHeader("Content-Type", "application/json");
        response.setBody(JSON.stringify({{ result, types: contentTypes, arg, hash, etag: Buffer.from(doc.name).toString("base64"), page: page.pathname + page.search }}));
    }}""",
    "folder/inner": "exports = () => 'inner'",
    "loops": "exports = () => { for (;;) {} }",
}
PYTHON = {
    "pyadd": """
import time

def utils(given):
    crypto, key = given.crypto, "k" * 32
    token = given.jwt.encode("HS256", {"sub": "x", "exp": 4000000000}, key, {"kid": "1"})
    sealed = crypto.encrypt("aes", b"h\\xff", key)
    return [crypto.hash("sha256", "a").hex(), crypto.hmac('{ "message": "Hello!" }', "Super5ecr3tPa55w0rd", "sha256", "hex"),
            crypto.decrypt("aes", sealed, key) == b"h\\xff", given.jwt.decode(token, key, True)["header"]["kid"]]

async def main(request, response, context):
    things = context.services.get("mongodb-atlas").db("shop").collection("things")
    await things.insert_one({"_id": "py", "n": 1})
    found = await things.find_one({"_id": "py"})
    await things.delete_one({"_id": "py"})
    try:
        await context.http.post("http://127.0.0.1:1/", body=b"x")
    except Exception as error:
        sent = str(error)
    slept = await context.run_in_thread(lambda: time.sleep(0.01) or "slept")
    context.log("from Python")
    return {"found": found, "body": request["body"].decode(), "slept": slept, "limit": context.values.get("limit"),
            "sum": await context.functions.execute("sum", 1, 2), "utils": utils(context.utils), "sent": sent, "user": context.user["type"],
            "list": await things.find({}).sort({"_id": 1}).limit(1).to_list()}
""",
    "pythrows": "def main(context):\n    raise KeyError('lost')\n",
}  # fmt: skip
CONFIG: dict[str, dict[str, Any]] = {
    "mine": {}, "through": {}, "given": {}, "kinds": {}, "sum": {}, "throws": {}, "pythrows": {}, "forbidden": {}, "loops": {},
    "hidden": {"private": True},
    "guarded": {"can_evaluate": {"%%args.0": {"$lt": 10}, "%%user.type": "normal"}},
}  # fmt: skip
SYSTEM = ("hello", "latest", "echo", "add_thing", "things", "all_notes", "told", "packed", "duplicate", "signed", "every", "fetches", "crypto", "pyadd", "old", "folder/inner")  # fmt: skip


def endpoint(route: str, method: str, function: str, **more: Any) -> dict[str, Any]:
    base = {"route": route, "http_method": method, "function_name": function, "validation_method": "NO_VALIDATION"}
    return {**base, "respond_result": True, "return_type": "JSON", "disabled": False, **more}


ENDPOINTS = [
    endpoint("/hello", "GET", "hello"),
    endpoint("/hello/latest", "GET", "latest", return_type="EJSON"),
    endpoint("/echo", "*", "echo"),
    endpoint("/echo", "DELETE", "told"),
    endpoint("/things", "GET", "things"),
    endpoint("/things", "POST", "add_thing"),
    endpoint("/mine", "GET", "mine", fetch_custom_user_data=True, create_user_on_auth=False),
    endpoint("/told", "GET", "told"),
    endpoint("/packed", "GET", "packed"),
    endpoint("/duplicate", "POST", "duplicate"),
    endpoint("/every", "POST", "every"),
    endpoint("/passwordRequired", "GET", "echo", validation_method="SECRET_AS_QUERY_PARAM", secret_name="password"),
    endpoint("/sendMessage", "POST", "signed", validation_method="VERIFY_PAYLOAD", secret_name="signing"),
    endpoint("/silent", "POST", "hello", respond_result=False),
    endpoint("/off", "GET", "hello", disabled=True),
    endpoint("/throws", "GET", "throws"),
    endpoint("/fetches", "GET", "fetches"),
    endpoint("/crypto", "GET", "crypto"),
    endpoint("/py", "POST", "pyadd"),
    endpoint("/old", "POST", "old"),
    endpoint("/inner", "GET", "folder/inner"),
]

ARRIVALS = {
    "name": "arrivals", "type": "DATABASE", "disabled": False,
    "config": {"service_name": "mongodb-atlas", "database": "shop", "collection": "arrivals", "operation_types": ["INSERT"],
               "full_document": True, "unordered": False, "match": {"fullDocument.name": {"$exists": True}}, "project": {}},
    "event_processors": {"FUNCTION": {"config": {"function_name": "arrived"}}},
}  # fmt: skip

OWNERS = {"name": "owner", "apply_when": {}, "document_filters": {"read": {"owner": "%%user.id"}, "write": {"owner": "%%user.id"}}, "read": True, "write": True}  # fmt: skip


def write(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def alone(folder: Path, name: str, source: str) -> Path:
    """An app in ``folder`` of one function in JavaScript, which the endpoint of its name calls by POST."""
    write(folder, {
        "root_config.json": {"app_id": f"{name}-abcde", "name": name},
        "functions/config.json": [{"name": name, "run_as_system": True}],
        f"functions/{name}.js": source,
        "https_endpoints/config.json": [endpoint(f"/{name}", "POST", name)],
    })  # fmt: skip
    return folder


def shop(folder: Path) -> Path:
    """The app in ``folder``."""
    entries = [{"name": name, "private": False, **entry} for name, entry in CONFIG.items()]
    entries += [{"name": name, "private": False, "run_as_system": True} for name in SYSTEM]
    write(folder, {
        "root_config.json": {"app_id": APP_ID, "name": "shop", "environment": "testing"},
        "auth/providers.json": {
            **{name: {"name": name, "type": name, "disabled": False} for name in ("api-key", "anon-user")},
            "custom-function": {"name": "custom-function", "type": "custom-function", "disabled": False,
                                "config": {"authFunctionName": "lets_in"}},
        },
        "values/limit.json": {"name": "limit", "value": 5, "from_secret": False},
        "values/key.json": {"name": "key", "value": "password", "from_secret": True},
        "environments/testing.json": {"values": {"region": "eu"}},
        "functions/config.json": entries,
        "https_endpoints/config.json": ENDPOINTS,
        "triggers/arrivals.json": ARRIVALS,
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {"clusterName": "Cluster0"}},
        "data_sources/mongodb-atlas/shop/notes/rules.json": {"database": "shop", "collection": "notes", "roles": [OWNERS]},
        "functions/node_modules/uuidish/package.json": {"main": "dist/index.js", "browser": {"./dist/rng.js": "./no.js"}},
        "functions/node_modules/uuidish/dist/index.js": "const rng = require('./rng.js'); exports.uuid = () => rng.default().toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')",
        "functions/node_modules/uuidish/dist/rng.js": "Object.defineProperty(exports, '__esModule', { value: true }); const _crypto = require('node:crypto'); exports.default = () => _crypto.randomBytes(16)",
        "functions/node_modules/left/package.json": {"name": "left", "main": "lib"},
        "functions/node_modules/left/lib/index.js": "const { fill } = require('./fill'); module.exports = (text, size) => fill(text, size, require('../data').a)",
        "functions/node_modules/left/lib/fill.js": "const process = require('process'), global = globalThis; exports.fill = (text, size, a) => String(text).padStart(size, a)",
        "functions/node_modules/left/inner.js": "const parts = require('./parts'); module.exports.name = parts.same && parts.dep",
        "functions/node_modules/left/parts/index.js": "exports.dep = require('dep'); exports.same = require('.') === exports && this === exports && global === globalThis && __filename === `${__dirname}/index.js` && typeof process.env",
        "functions/node_modules/left/data.json": {"a": "0"},
        "functions/node_modules/left/node_modules/dep/index.js": "module.exports = 'dep of left'",
        "functions/node_modules/@scope/two/package.json": {"exports": {".": {"import": "./no.mjs", "require": "./yes.cjs"}}},
        "functions/node_modules/@scope/two/yes.cjs": "exports.two = 2",
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
        **{f"functions/{name}.py": source for name, source in PYTHON.items()},
    })  # fmt: skip
    return folder
