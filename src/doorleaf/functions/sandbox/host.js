// The program of a JavaScript process: it runs one call at a time, each in a fresh global scope, and is trusted with
// nothing. Every message that it sends is judged by the server as the function's own.
//
// A message is a length (4 bytes), a kind (1 byte) and a number (4 bytes), little-endian, and then UTF-8 text.
// What crosses between this file's realm and a call's realm is text, numbers and functions without a prototype.
import vm from "node:vm";
import { setImmediate } from "node:timers";

const SETUP = 1, CALL = 2, REPLY = 3, CHECK = 4, WOKEN = 5; // from the server
// To the server. None is 10: Rust writes what comes before a newline apart, and the server would wake up twice.
const RESULT = 20, FAILED = 11, REQUEST = 12, SEND = 13, LINE = 14, ASK = 15, CHECKED = 16, SLEEP = 17, FORGET = 18, CANCEL = 19;
const WHOLE = { filename: "doorleaf:prelude" };

const { stdin, stdout } = Deno;
const core = Deno[Deno.internal]?.core;
// These are Deno's own and may change with any version: run what promises wait to do until there is no more of it;
// the same, and let go of rejections that nobody took, however many; whether there are such, or an import.
const { runMicrotasks: settle, runNextTicks: release, eventLoopHasMoreWork: hasMore } = core ?? {};
for (const needed of [settle, release, hasMore, core?.setUnhandledPromiseRejectionHandler]) {
  if (typeof needed !== "function") Deno.exit(78); // which the server knows
}
const { URL } = globalThis, random = crypto.getRandomValues.bind(crypto);
const readSync = stdin.readSync.bind(stdin), writeSync = stdout.writeSync.bind(stdout);
const { Script, createContext, constants } = vm;
const fromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
const toBase64 = (bytes) => bytes.toBase64();
const toText = new TextDecoder(), toBytes = new TextEncoder();
const decode = toText.decode.bind(toText), encode = toBytes.encode.bind(toBytes);
core.setUnhandledPromiseRejectionHandler(() => true);

// --- what a function could reach if it got out of its realm: nothing, and nothing that stays -----------------------

for (const key of Reflect.ownKeys(globalThis)) {
  const own = Object.getOwnPropertyDescriptor(globalThis, key);
  if (own.enumerable || key === "Deno" || key === "process" || key === "Buffer" || key === "navigator") {
    delete globalThis[key];
  }
}
const seen = new Set();
const harden = (value) => {
  if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) return;
  seen.add(value);
  for (const key of Reflect.ownKeys(value)) {
    const own = Object.getOwnPropertyDescriptor(value, key);
    if (own === undefined) continue;
    if ("value" in own) harden(own.value);
    harden(own.get);
    harden(own.set);
  }
  harden(Object.getPrototypeOf(value));
  Object.freeze(value);
};
harden(globalThis);
harden((async () => {}).constructor);
harden((function* () {}).constructor);
harden((async function* () {}).constructor);
harden(Object.getPrototypeOf([][Symbol.iterator]()));
const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];

// --- messages ------------------------------------------------------------------------------------------------------

let held = new Uint8Array(65536), from = 0, to = 0;

function whole() {
  // A message that is there in full, or undefined.
  if (to - from < 9) return undefined;
  const view = new DataView(held.buffer, from, 9);
  const size = view.getUint32(0, true);
  if (to - from < 9 + size) return undefined;
  const text = decode(held.subarray(from + 9, from + 9 + size));
  const message = { kind: view.getUint8(4), number: view.getUint32(5, true), text };
  from += 9 + size;
  if (from === to) from = to = 0;
  return message;
}

function room() {
  const size = to - from >= 4 ? new DataView(held.buffer, from, 4).getUint32(0, true) + 9 : 9;
  if (from + size > held.length || to === held.length) {
    const wider = size > held.length ? new Uint8Array(size + 65536) : held;
    wider.set(held.subarray(from, to));
    held = wider; // plain assignments: a stack that is full leaves none of them out
    to -= from;
    from = 0;
  } else if (from === to && held.length > 1048576) {
    held = new Uint8Array(65536);
    from = to = 0;
  }
  return held.subarray(to);
}

function next() {
  // The next message; the thread waits for it.
  for (;;) {
    const message = whole();
    if (message !== undefined) return message;
    flush();
    const got = readSync(room());
    if (got === null) throw new Error("the server has gone");
    to += got;
  }
}

const out = new Uint8Array(65536);
let filled = 0;

function write(bytes) {
  for (let done = 0; done < bytes.length; ) done += writeSync(bytes.subarray(done));
}

function flush() {
  if (filled === 0) return;
  write(out.subarray(0, filled));
  filled = 0;
}

function send(kind, number, text) {
  // Messages go out together, at the latest when the thread waits for one. A stack that is full leaves a message out whole.
  const most = text.length * 3 + 9;
  if (filled + most > out.length) flush();
  const alone = most > out.length ? encode(text) : undefined;
  const bytes = alone === undefined ? out : new Uint8Array(9 + alone.length);
  const at = alone === undefined ? filled : 0;
  const size = alone === undefined ? toBytes.encodeInto(text, out.subarray(at + 9)).written : alone.length;
  const head = new DataView(bytes.buffer, at, 9);
  head.setUint32(0, size, true);
  head.setUint8(4, kind);
  head.setUint32(5, number, true);
  if (alone === undefined) filled = at + 9 + size;
  else {
    bytes.set(alone, 9);
    write(bytes);
  }
}

// --- a call --------------------------------------------------------------------------------------------------------

const functions = new Map(), modules = new Map(), shares = new Map(), waiting = [];
const BROKEN = '{"name":"Error","message":"the function broke what it gets its answers by"}';
const NEVER = '{"name":"Error","message":"the function waits for something that never comes"}';
let prelude, spare, asleep = 0;

function compiled(name, text, file) {
  // A script whose value is a function with the source as its body; lines are those of the file.
  return new Script(wrapped(text), { filename: file });
}
const wrapped = (text) => `(function (exports, require, module) { ${text}\n;return [exports, module] })`;
// What packages have besides, and may declare for themselves.
const ofPackage = (text) => `(function (process, global, __filename, __dirname) { return ${wrapped(text)} })`;

// What the prelude of a call's realm may have done here, by name, for that call.
const DOORS = {
  __proto__: null,
  tell(call, kind, number, text) {
    if (!call.alive || typeof kind !== "number" || typeof number !== "number" || typeof text !== "string") return;
    if (kind === RESULT || kind === FAILED) {
      call.alive = false;
      call.kind = kind;
      call.told = text;
    } else if (kind === REQUEST || kind === SEND) {
      send(kind, number, text); // first: nothing is open if the stack is full
      call.open += 1;
    } else if (kind === LINE) {
      send(kind, number, text);
      flush(); // what comes behind it may never end
    } else if (kind === CANCEL) {
      send(kind, number, ""); // it is answered all the same
    }
  },
  load(call, name) {
    if (typeof name !== "string") return "expected the name of a function";
    try {
      const known = functions.get(name);
      if (known === undefined) return `function not found: '${name}'`;
      known.script ??= compiled(name, known.source, known.file);
      return known.script.runInContext(call.global);
    } catch (error) {
      return `${error.name}: ${error.message}`;
    }
  },
  module(call, file, text) {
    if (typeof file !== "string" || typeof text !== "string") return "expected a module";
    try {
      if (!modules.has(file)) modules.set(file, new Script(ofPackage(text), { filename: file }));
      return modules.get(file).runInContext(call.global);
    } catch (error) {
      return `${error.name}: ${error.message}`;
    }
  },
  ask(call, text) {
    // The server's answer, at once: replies to other requests wait meanwhile.
    if (!call.alive || typeof text !== "string") return '{"error":"not now"}';
    if (call.asks) answered(call); // the stack was full when it came, and it answers another question
    send(ASK, 0, text);
    call.asks = true;
    return answered(call);
  },
  sleep(call, milliseconds, number) {
    if (!call.alive || typeof milliseconds !== "number" || typeof number !== "number") return;
    if (call.timers.size >= 1000) return;
    asleep = (asleep + 1) >>> 0; // no two calls have one: what wakes late wakes nobody
    send(SLEEP, asleep, `${Math.ceil(milliseconds)}`);
    call.timers.set(asleep, number);
  },
  forget(call, number) {
    for (const [timer, of] of call.timers) {
      if (of === number && call.timers.delete(timer) && call.alive) send(FORGET, timer, "");
    }
  },
  utf8: (call, text) => (typeof text === "string" ? decode(fromBase64(text)) : ""),
  base64: (call, text) => (typeof text === "string" ? toBase64(encode(text)) : ""),
  address(call, text, base, name, value) {
    // The parts of an address as JSON, after one of them was set; "" for what is none.
    for (const one of [text, base, name, value]) if (typeof one !== "string") return "";
    try {
      const url = base === "" ? new URL(text) : new URL(text, base);
      if (PARTS.includes(name)) url[name] = value;
      return JSON.stringify(Object.fromEntries([...PARTS, "origin"].map((part) => [part, url[part]])));
    } catch {
      return "";
    }
  },
  chance: (call, count) => (Number.isInteger(count) && count >= 0 && count <= 65536 ? toBase64(random(new Uint8Array(count))) : ""),
  shared: (call, name) => shares.get(name) ?? "null",
};

function realm() {
  const call = { alive: true, kind: 0, told: "", open: 0, asks: false, timers: new Map(), global: createContext(constants.DONT_CONTEXTIFY), receive: undefined };
  // One function for all, without a prototype and frozen: each costs every call two microseconds.
  const door = (name, first, second, third, fourth) => DOORS[name]?.(call, first, second, third, fourth);
  call.receive = prelude.runInContext(call.global)(Object.freeze(Object.setPrototypeOf(door, null)));
  return call;
}

function answered(call) {
  // The answer to the question that is asked.
  for (;;) {
    const message = next();
    if (message.kind === REPLY && message.number === 0) {
      call.asks = false;
      return message.text;
    }
    waiting.push(message);
  }
}

function run(text, number) {
  // The call that has ended, and nothing of it is left to run: what never ends is killed with its call.
  const call = spare ?? realm();
  spare = undefined;
  into(call, CALL, number, text);
  for (;;) {
    settle();
    if (call.kind !== 0) break;
    if (waiting.length > 0) answer(call, waiting.shift());
    else if (call.open > 0 || call.timers.size > 0) {
      // The server is at work: the next call's scope is made meanwhile.
      flush();
      spare ??= realm();
      answer(call, next());
    } else {
      fail(call, NEVER);
    }
  }
  waiting.length = 0;
  return call;
}

function answer(call, message) {
  if (message.kind === WOKEN) {
    const number = call.timers.get(message.number);
    if (call.timers.delete(message.number)) into(call, 0, number, "");
  } else if (message.kind === REPLY && message.number === 0) call.asks = false;
  else if (message.kind === REPLY) {
    call.open -= 1;
    into(call, REPLY, message.number, message.text);
  }
}

function into(call, kind, number, text) {
  // What a function has made of its own realm may throw, which costs its call.
  try {
    call.receive(kind, number, text);
  } catch {
    fail(call, BROKEN);
  }
}

function fail(call, told) {
  if (call.kind !== 0) return;
  call.alive = false;
  call.kind = FAILED;
  call.told = told;
}

async function check(text) {
  const found = {};
  for (const [name, { source, file }] of Object.entries(JSON.parse(text))) {
    try {
      compiled(name, source, file);
    } catch (error) {
      found[name] = `${await line(source)}${error.name}: ${error.message}`;
    }
  }
  return JSON.stringify(found);
}

async function line(source) {
  // V8 does not tell where a script is wrong; reading it as a module says so, and runs none of it.
  if (source.length > 1000000) return "";
  try {
    await import(`data:text/javascript,${encodeURIComponent(`(function (exports, require, module) { ${source}\n})`)}`);
    return "";
  } catch (error) {
    const place = /:(\d+):\d+$/m.exec(error.message);
    return place === null ? "" : `line ${place[1]}: `;
  }
}

function setUp(text) {
  const told = JSON.parse(text);
  for (const [name, entry] of Object.entries(told.functions)) functions.set(name, entry);
  for (const [name, value] of Object.entries(told.shared)) shares.set(name, JSON.stringify(value));
  prelude = new Script(told.prelude, WHOLE);
}

function ended(call, number) {
  send(call.kind, number, call.told);
  flush();
}

function serve() {
  // Called by the event loop, with no promise at work: it is the only place where `settle` does anything.
  while (serveOne());
}

function serveOne() {
  // Whether to go on with the next message at once. What a frame of V8 once held it keeps until it ends: one frame for
  // all messages would keep the text and the scope of the last call while the next one is read.
  if (prelude !== undefined) spare ??= realm();
  const { kind, number, text } = next();
  if (kind === SETUP) setUp(text);
  else if (kind === CHECK) {
    check(text).then((found) => send(CHECKED, 0, found)).then(flush);
    return false;
  } else if (kind === CALL) {
    const call = run(text, number);
    if (hasMore()) {
      release();
      // What is left is for the event loop, before anybody else's call.
      if (hasMore()) {
        setImmediate(() => { ended(call, number); serve(); });
        return false;
      }
    }
    ended(call, number);
  }
  return true;
}

setImmediate(serve);
