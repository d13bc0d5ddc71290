// What a function is given: context, its database, console, timers, require. A part of the prelude.

const RESULT = 20, FAILED = 11, REQUEST = 12, SEND = 13, LINE = 14, CANCEL = 19;
const CALL = 2, REPLY = 3;
const pending = new Map(), timers = new Map(), settings = { __proto__: null };
// The lines of a call, as ``payload`` in call.py writes them.
const NAME = 0, SYSTEM = 1, USER = 2, HEADERS = 3, CAUSE = 4, ARGUMENTS = 5, QUERY = 6, BODY = 7;
let sequence = 0, timer = 0, depth = 0, lines = 0, told = [];

// Nothing here passes on an error of the realm that calls: it could be a way into that.
const guarded = (name, wrong = "the stack is full") => (first, second, third, fourth) => {
  try { return door(name, first, second, third, fourth); } catch { throw new RangeError(wrong); }
};
const sending = guarded("tell"), loading = guarded("load"), moduling = guarded("module"), asking = guarded("ask");
const sleeping = guarded("sleep"), forgetting = guarded("forget"), sharing = guarded("shared");
const toText = guarded("utf8", "no text can be made of this");
const toBase64 = guarded("base64", "no bytes can be made of this");
const own = (name) => (settings[name] ??= parse(sharing(name)));

const mongoError = once(() => class MongoError extends Error {
  constructor({ message, name, code, codeName, status }) {
    super(message);
    define(this, "name", { value: name ?? "MongoError" });
    for (const [key, value] of Object.entries({ code, codeName, status })) if (value !== undefined) this[key] = value;
  }
});

const request = (content) => requested(stringify(content));
function requested(text, kind = REQUEST) {
  // A promise of what the server answers.
  const number = (sequence += 1);
  if (pending.size >= 1000) return Promise.reject(new Error("a function may wait for 1000 things at once"));
  return new Promise((done, failed) => {
    sending(kind, number, text);
    pending.set(number, { done, failed });
  });
}

function asked(content) {
  // The same at once, without a promise.
  const answer = parse(asking(stringify(content)));
  if (answer.error !== undefined) throw typeof answer.error === "string" ? new Error(answer.error) : new (mongoError())(answer.error);
  return inward(answer.value);
}

const plain = (value) => outward(value, false, false, 0);
const json = (value) => stringify(value) ?? "null";

// --- the database ----------------------------------------------------------------------------------------------------

const cursor = once(() => class Cursor {
  #run; #fields; #documents; #position = 0;
  constructor(run, fields) { this.#run = run; this.#fields = fields; }
  #set(name, value) {
    if (this.#documents !== undefined) throw new Error(`${name} comes before the first document is read`);
    this.#fields[name] = value;
    return this;
  }
  sort(order, direction) { return this.#set("sort", typeof order === "string" ? { [order]: direction ?? 1 } : order); }
  limit(count) { return this.#set("limit", count); }
  skip(count) { return this.#set("skip", count); }
  project(fields) { return this.#set("projection", fields); }
  projection(fields) { return this.project(fields); }
  collation(collation) { return this.#set("collation", collation); }
  hint(index) { return this.#set("hint", index); }
  maxTimeMS(milliseconds) { return this.#set("maxTimeMS", milliseconds); }
  #all() { return (this.#documents ??= this.#run(this.#fields)); }
  async toArray() {
    const all = await this.#all();
    const rest = all.slice(this.#position);
    this.#position = all.length;
    return rest;
  }
  async next() { return (await this.#all())[this.#position++] ?? null; }
  async hasNext() { return this.#position < (await this.#all()).length; }
  async forEach(visit) { for (const document of await this.toArray()) visit(document); }
  async map(change) { return (await this.toArray()).map(change); }
  async count() { return (await this.#all()).length; }
  close() { return Promise.resolve(); }
  async *[Symbol.asyncIterator]() { for (let one; (one = await this.next()) !== null; ) yield one; }
});

function options(fields, given, names) {
  // Put the options of a call beside its other fields.
  for (const [key, value] of Object.entries(given)) {
    if (key === "session") continue;
    if (!names.includes(key)) throw new Error(`the option ${key} is not available here`);
    if (value !== undefined) fields[key] = value;
  }
}
const READING = ["collation", "hint", "comment", "maxTimeMS", "let"];
const FINDING = ["sort", "skip", ...READING];
const WRITING = ["upsert", "arrayFilters", ...READING];
const MODIFYING = ["projection", "sort", "upsert", "returnNewDocument", "returnDocument", "arrayFilters", ...READING];

const collection = once(() => class Collection {
  #at; #name;
  constructor(source, database, name) {
    this.#at = `"source":${json(source)},"database":${json(database)},"collection":${json(name)}`;
    this.#name = name;
  }
  get name() { return this.#name; }
  #run(action, fields, given, names) {
    let part = "";
    if (given) {
      options(fields, given, names);
      if (given.session !== undefined) part = within(given.session);
    }
    return this.#ask(action, fields, part);
  }
  // As text, for each member of a new object costs a microsecond in a new global scope.
  #ask(action, fields, part) {
    return requested(`{"to":"database","action":"${action}",${this.#at},"fields":${stringify(plain(fields))}${part}}`);
  }
  #cursor(action, fields, given, names) {
    if (given) options(fields, given, names);
    return new (cursor())((fields) => this.#ask(action, fields, given?.session === undefined ? "" : within(given.session)), fields);
  }

  find(filter = {}, projection, given) { return this.#cursor("find", { filter, projection }, given, ["sort", "limit", "skip", ...READING]); }
  findOne(filter = {}, projection, given) { return this.#run("findOne", { filter, projection }, given, FINDING); }
  findOneAndUpdate(filter, update, given) { return this.#run("findOneAndUpdate", { filter, update, returnNewDocument: false }, given, MODIFYING); }
  findOneAndReplace(filter, replacement, given) {
    return this.#run("findOneAndReplace", { filter, replacement, returnNewDocument: false }, given, MODIFYING);
  }
  findOneAndDelete(filter, given) { return this.#run("findOneAndDelete", { filter }, given, MODIFYING); }
  insertOne(document, given) { return this.#run("insertOne", { document }, given, []); }
  insertMany(documents, given) { return this.#run("insertMany", { documents }, given, ["ordered"]); }
  updateOne(filter, update, given) { return this.#run("updateOne", { filter, update }, given, ["sort", ...WRITING]); }
  updateMany(filter, update, given) { return this.#run("updateMany", { filter, update }, given, WRITING); }
  replaceOne(filter, replacement, given) { return this.#run("replaceOne", { filter, replacement }, given, ["sort", ...WRITING]); }
  deleteOne(filter, given) { return this.#run("deleteOne", { filter }, given, READING); }
  deleteMany(filter, given) { return this.#run("deleteMany", { filter }, given, READING); }
  aggregate(pipeline, given) { return this.#cursor("aggregate", { pipeline }, given, ["allowDiskUse", ...READING]); }
  count(filter = {}, given) { return this.#run("countDocuments", { filter }, given, ["limit", "skip", ...READING]); }
  countDocuments(filter, given) { return this.count(filter, given); }
  estimatedDocumentCount() { return this.#run("estimatedDocumentCount", {}); }
  distinct(key, filter = {}, given) { return this.#run("distinct", { key, filter }, given, READING); }
  bulkWrite(operations, given) {
    const entries = operations.map((entry) => {
      const [[name, body]] = Object.entries(entry);
      return { [name]: name === "insertOne" && body.document === undefined ? { document: body } : body };
    });
    return this.#run("bulkWrite", { operations: entries }, given, ["ordered", "let"]);
  }
  watch() { throw new Error("watch is not available in a function"); }
  initializeOrderedBulkOp() { throw new Error("initializeOrderedBulkOp is not available: use bulkWrite"); }
  initializeUnorderedBulkOp() { throw new Error("initializeUnorderedBulkOp is not available: use bulkWrite"); }
});

// --- transactions: one at a time in each session ------------------------------------------------------------------------

let transactions = 0, within = () => fail("session: expected what startSession gave");
const session = once(() => class Session {
  #number; #options; #begun; #aborted = false; #ended = false;
  static {
    // What an operation says of its transaction; whichever the server reads first begins it.
    within = (of) => {
      if (typeof of !== "object" || of === null || !(#number in of)) fail("session: expected what startSession gave");
      of.#living();
      of.#begun = true;
      return of.#number === undefined ? "" : `,"session":${of.#number},"begins":${of.#options}`;
    };
  }
  #living() {
    if (this.#ended) throw new Error("the session has ended"); // what is no part of a transaction must not look like one
  }
  startTransaction(given) {
    this.#living();
    if (this.#number !== undefined) throw new Error("the session has a transaction already");
    this.#options = json(plain(given ?? {}));
    this.#number = transactions += 1;
    this.#begun = false;
  }
  async #end(commit) {
    const number = this.#number;
    this.#number = this.#options = undefined;
    this.#aborted = true; // also by a commit that fails
    if (this.#begun) await request({ to: "transaction", session: number, commit });
    this.#aborted = !commit;
  }
  async commitTransaction() {
    if (this.#number === undefined) throw new Error("the session has no transaction");
    return this.#end(true);
  }
  async abortTransaction() {
    if (this.#number !== undefined) return this.#end(false);
    if (!this.#aborted) throw new Error("the session has no transaction");
  }
  async endSession() {
    this.#ended = true;
    if (this.#number !== undefined) return this.#end(false);
  }
  inTransaction() { return this.#number !== undefined; }
  async withTransaction(work, given) {
    for (let attempt = 1; ; attempt += 1) {
      this.startTransaction(given);
      try {
        const result = await work(this);
        if (this.#number !== undefined) await this.commitTransaction();
        return result;
      } catch (error) {
        await this.abortTransaction().catch(() => {}); // the first error is the one to tell
        // 112: another one has written the same at this moment, and nothing of this one is left.
        if (error?.code !== 112 || attempt >= 20) throw error;
      }
    }
  }
});

const database = once(() => class Database {
  #source; #name;
  constructor(source, name) { this.#source = source; this.#name = name; }
  get name() { return this.#name; }
  collection(name) { return new (collection())(this.#source, this.#name, name); }
});

function service(name) {
  if (!own("sources").includes(name)) return undefined;
  return { db: (named) => new (database())(name, named), startSession: () => new (session())() };
}

// --- functions and modules -------------------------------------------------------------------------------------------

function body(got, id) {
  // Run a wrapped source; what it exports. `got` is text where it could not be compiled.
  if (typeof got === "string") {
    const [, name, message] = /^(\w*Error): ([^]*)$/.exec(got) ?? [, "Error", got];
    throw new (name === "SyntaxError" ? SyntaxError : Error)(`${id}: ${message}`);
  }
  const exported = {}, holder = { exports: exported };
  const [assigned, module] = got(exported, (wanted) => required(wanted, id), holder);
  return assigned === exported ? module.exports : assigned;
}

function called(name, given) {
  const exported = body(loading(name), name);
  const run = typeof exported === "function" ? exported : exported?.default;
  if (typeof run !== "function") throw new TypeError(`the function ${name} exports no function: write exports = async function () { … }`);
  return run(...given);
}

function execute(name, ...given) {
  const entry = own("functions")[name];
  if (entry === undefined) throw new Error(`function not found: '${name}'`);
  const here = entry.apart === "" || (entry.apart === "system" && told[SYSTEM] === "true");
  if (!here) return request({ to: "function", name: String(name), arguments: plain(given) });
  if (depth >= 10) throw new Error("functions call each other at most 10 deep");
  depth += 1;
  let result;
  try {
    result = called(name, given);
  } catch (error) {
    depth -= 1;
    throw error;
  }
  if (typeof result?.then !== "function") {
    depth -= 1;
    return result;
  }
  return Promise.resolve(result).finally(() => { depth -= 1; });
}

const loaded = new Map();

function required(id, parent) {
  const own = String(id).replace(/^node:/, "");
  if (Object.hasOwn(node(), own)) return node()[own]();
  const found = asked({ to: "module", id: String(id), from: parent });
  if (loaded.has(found.file)) return loaded.get(found.file).exports;
  const holder = { exports: {} };
  loaded.set(found.file, holder);
  if (found.file.endsWith(".json")) holder.exports = parse(found.text);
  else {
    const got = moduling(found.file, found.text);
    if (typeof got === "string") throw new SyntaxError(`${found.file}: ${got}`);
    got(nodeProcess(), globalThis, found.file, found.file.replace(/\/[^/]*$/, "")).call(holder.exports, holder.exports, (wanted) => required(wanted, found.file), holder);
  }
  return holder.exports;
}

// --- console and timers ------------------------------------------------------------------------------------------------

function shown(value) {
  if (typeof value === "string") return value;
  try {
    return (value instanceof Error ? value.stack : stringify(outward(value, false, true, 0))) ?? String(value);
  } catch {
    return hidden(value);
  }
}

function hidden(value) {
  try {
    return String(value);
  } catch {
    return "a value that cannot be shown";
  }
}

function log(level) {
  return (...given) => {
    lines += 1;
    if (lines > 200) return;
    let text = given.map(shown).join(" ");
    if (text.length > 4000) text = `${text.slice(0, 4000)}…`;
    sending(LINE, lines, stringify({ level, text: lines === 200 ? `${text} … and no more of this call` : text }));
  };
}

const fallible = (work, given) => {
  try {
    const got = work(...given);
    if (typeof got?.then === "function") got.then(undefined, (error) => log("error")(error));
  } catch (error) {
    log("error")(error);
  }
};
let numbered = (given) => given;
// What a timer is in Node.js, whose packages write `setTimeout(…).unref()`; nothing of a call outlives it, with or without.
const timeout = once(() => class Timeout {
  #number; #restart; #counts = true;
  static {
    numbered = (given) => (typeof given === "object" && given !== null && #number in given ? given.#number : given);
  }
  constructor(number, restart) { [this.#number, this.#restart] = [number, restart]; }
  ref() { this.#counts = true; return this; }
  unref() { this.#counts = false; return this; }
  hasRef() { return this.#counts; }
  refresh() { this.#restart(); return this; }
  close() { stop(this); return this; }
  [Symbol.toPrimitive]() { return this.#number; }
});
function after(work, milliseconds, again, given) {
  if (typeof work !== "function") throw new TypeError("a timer takes a function");
  if (timers.size >= 1000) throw new Error("a function may have 1000 timers");
  const number = (timer += 1), time = Math.min(Math.max(Number(milliseconds) || 0, again ? 1 : 0), 2147483647);
  const wake = () => {
    if (again) sleeping(time, number);
    else timers.delete(number);
    fallible(work, given);
  };
  const begin = () => { sleeping(time, number); timers.set(number, wake); };
  begin();
  return new (timeout())(number, () => { stop(number); begin(); });
}
const stop = (given) => {
  const number = numbered(given);
  if (timers.delete(typeof number === "string" ? Number(number) : number)) forgetting(Number(number));
};

// --- a call ------------------------------------------------------------------------------------------------------------

function describe(value) {
  try {
    if (value instanceof Error) return { name: String(value.name), message: String(value.message), stack: String(value.stack) };
    if (typeof value === "string") return { name: "Error", message: value };
    return { name: "Error", message: stringify(plain(value)) ?? String(value) };
  } catch {
    return { name: "Error", message: "a value that cannot be shown" };
  }
}

let said; // with the response object of an HTTPS endpoint, once something is

function answer() {
  // The response object.
  const saying = () => (said ??= { status: 200, headers: [], body: undefined });
  return {
    setStatusCode(status) { saying().status = Number(status); },
    setBody(value) {
      const found = saying();
      if (typeof value !== "string" && !(value instanceof types.Binary) && !ArrayBuffer.isView(value) && value !== undefined && value !== null) {
        throw new TypeError("setBody takes text or Binary");
      }
      found.body = content(value);
    },
    setHeader(name, value) {
      const found = saying(), lower = String(name).toLowerCase();
      found.headers = found.headers.filter(([other]) => other.toLowerCase() !== lower);
      found.headers.push([String(name), String(value)]);
    },
    addHeader(name, value) { saying().headers.push([String(name), String(value)]); },
  };
}

async function start(text) {
  told = text.split("\n");
  const given = told[ARGUMENTS] === ""
    ? [{ query: parse(told[QUERY]), headers: parse(told[HEADERS]), body: received(parse(told[BODY])) }, answer()]
    : inward(parse(told[ARGUMENTS]));
  try {
    const value = await called(parse(told[NAME]), given);
    sending(RESULT, 0, said === undefined ? `{"value":${json(outward(value, false, false, 0))}}` : stringify({ said }));
  } catch (error) {
    sending(FAILED, 0, stringify(describe(error)));
  }
}

function receive(kind, number, text) {
  if (kind === REPLY) {
    const waiting = pending.get(number);
    pending.delete(number);
    if (waiting === undefined) return;
    try {
      const answer = parse(text);
      if (answer.error === undefined) waiting.done(inward(answer.value));
      else waiting.failed(new (mongoError())(answer.error));
    } catch (error) {
      waiting.failed(error);
    }
  } else if (kind === CALL) start(text);
  else timers.get(number)?.();
}

const user = once(() => inward(parse(told[USER])));
const cause = once(() => {
  const found = parse(told[CAUSE]), headers = parse(told[HEADERS]);
  if (headers !== null) found.requestHeaders = headers;
  return found;
});
const values = once(() => inward(own("values"))), environment = once(() => inward(own("environment")));
const logging = once(() => new (consoles())());
const surroundings = once(() => ({
  get app() { return own("app"); },
  get environment() { return environment(); },
  get user() { return user(); },
  get request() { return cause(); },
  runningAsSystem: () => told[SYSTEM] === "true",
  functions: { execute },
  values: { get: (name) => (Object.hasOwn(values(), name) ? values()[name] : undefined) },
  services: { get: service },
  get http() { return http(); },
}));
const named = (name, value) => { define(globalThis, name, { value, writable: true, configurable: true }); return value; };

// What the global scope has is on its prototype, of a class, which is the quickest to make; the values come when they are named.
class Global {
  get context() { return surroundings(); }
  set context(value) { named("context", value); }
  get console() { return named("console", logging()); }
  set console(value) { named("console", value); }
  get utils() { return named("utils", utils()); }
  set utils(value) { named("utils", value); }
  get EJSON() { return named("EJSON", EJSON()); }
  set EJSON(value) { named("EJSON", value); }
  get BSON() { return named("BSON", bson()); }
  set BSON(value) { named("BSON", value); }
  get Buffer() { return named("Buffer", buffers()); }
  set Buffer(value) { named("Buffer", value); }
  get TextEncoder() { return named("TextEncoder", web().TextEncoder); }
  set TextEncoder(value) { named("TextEncoder", value); }
  get TextDecoder() { return named("TextDecoder", web().TextDecoder); }
  set TextDecoder(value) { named("TextDecoder", value); }
  get URL() { return named("URL", web().URL); }
  set URL(value) { named("URL", value); }
  get URLSearchParams() { return named("URLSearchParams", web().URLSearchParams); }
  set URLSearchParams(value) { named("URLSearchParams", value); }
  get AbortController() { return named("AbortController", events().AbortController); }
  set AbortController(value) { named("AbortController", value); }
  get AbortSignal() { return named("AbortSignal", events().AbortSignal); }
  set AbortSignal(value) { named("AbortSignal", value); }
  get DOMException() { return named("DOMException", events().DOMException); }
  set DOMException(value) { named("DOMException", value); }
  get Event() { return named("Event", events().Event); }
  set Event(value) { named("Event", value); }
  get EventTarget() { return named("EventTarget", events().EventTarget); }
  set EventTarget(value) { named("EventTarget", value); }
  get crypto() { return named("crypto", web().crypto); }
  set crypto(value) { named("crypto", value); }
  atob(text) { return web().atob(text); }
  btoa(text) { return web().btoa(text); }
  queueMicrotask(work) { web().queueMicrotask(work); }
  structuredClone(value, given) { return web().structuredClone(value, given); }
  fetch(url, given) { return fetch(url, given); }
  setTimeout(work, time, ...given) { return after(work, time, false, given); }
  setInterval(work, time, ...given) { return after(work, time, true, given); }
  setImmediate(work, ...given) { return after(work, 0, false, given); }
  clearTimeout(number) { stop(number); }
  clearInterval(number) { stop(number); }
  clearImmediate(number) { stop(number); }
}
delete Global.prototype.constructor;
delete globalThis.console; // V8's own, which shows nobody anything, and whose microtasks nobody guards
delete globalThis.queueMicrotask;
Object.setPrototypeOf(globalThis, Global.prototype);
// Nothing may run on its own after its call, and nothing looks at the frames of those that call.
delete globalThis.FinalizationRegistry;
delete globalThis.WebAssembly;
delete Atomics.waitAsync;
define(Error, "prepareStackTrace", { get: () => undefined, set: () => {} });
return receive;
