// Modules of Node.js that need nothing but the language and timers. A part of the prelude.

const nodeTimers = once(() => {
  // As they are at this moment: a function may have put its own in their place.
  const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate } = Global.prototype;
  const promises = {
    setTimeout: (time, value, given) => new Promise((done, failed) => {
      const timer = after(() => { leave(); done(value); }, time, false, []);
      const leave = heeding(given?.signal, (reason) => { stop(timer); failed(abortion(reason)); });
    }),
    setImmediate: (value, given) => promises.setTimeout(0, value, given),
    async *setInterval(time, value, given) { for (;;) yield promises.setTimeout(time, value, given); },
    scheduler: { wait: (time, given) => promises.setTimeout(time, undefined, given), yield: () => promises.setImmediate() },
  };
  return { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate, promises };
});

const consoles = once(() => {
  const begun = new Map(), counts = new Map();
  const passed = (label, ...given) => log("info")(`${label}: ${Date.now() - (begun.get(label) ?? Date.now())}ms`, ...given);
  return class Console {
    constructor() {
      this.log = this.info = log("info");
      this.debug = log("debug");
      this.warn = log("warning");
      this.error = log("error");
    }
    assert(good, ...given) { if (!good) log("error")("Assertion failed", ...given); }
    trace(...given) { log("error")("Trace", ...given); }
    dir(value) { log("info")(value); }
    table(value) { log("info")(value); }
    group(...given) { if (given.length > 0) log("info")(...given); }
    groupCollapsed(...given) { if (given.length > 0) log("info")(...given); }
    groupEnd() {}
    count(label = "default") { counts.set(label, (counts.get(label) ?? 0) + 1); log("info")(`${label}: ${counts.get(label)}`); }
    countReset(label = "default") { counts.delete(label); }
    time(label = "default") { begun.set(label, Date.now()); }
    timeLog(label = "default", ...given) { passed(label, ...given); }
    timeEnd(label = "default") { passed(label); begun.delete(label); }
  };
});

const nodePath = once(() => {
  // The paths of POSIX, as text: there are no files.
  const text = (path) => (typeof path === "string" ? path : fail("path: expected text"));
  function normalize(path) {
    const whole = text(path).startsWith("/"), kept = [];
    for (const part of path.split("/")) {
      if (part === "" || part === ".") continue;
      if (part !== "..") kept.push(part);
      else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
      else if (!whole) kept.push(part);
    }
    const found = kept.join("/");
    if (found === "") return whole ? "/" : path.endsWith("/") && path !== "" ? "./" : ".";
    return (whole ? "/" : "") + found + (path.endsWith("/") ? "/" : "");
  }
  const stripped = (path) => (path.length > 1 ? path.replace(/\/+$/, "") || "/" : path);
  const resolve = (...all) => stripped(normalize(["/", ...all.map(text)].reduce((before, path) => (path.startsWith("/") ? path : `${before}/${path}`))));
  const basename = (path, ending = "") => {
    const name = /([^/]*)\/*$/.exec(text(path))[1];
    if (path === ending) return "";
    return name !== ending && name.endsWith(ending) ? name.slice(0, name.length - ending.length) : name;
  };
  const extname = (path) => {
    const name = basename(path), at = name.lastIndexOf(".");
    return at <= 0 || name === ".." ? "" : name.slice(at);
  };
  const dirname = (path) => {
    const at = stripped(text(path)).lastIndexOf("/");
    return at < 0 ? "." : at === 1 && path.startsWith("//") ? "//" : path.slice(0, at) || "/";
  };
  function relative(from, to) {
    const [before, after] = [resolve(from), resolve(to)].map((path) => path.split("/").filter(Boolean));
    let same = 0;
    while (same < before.length && before[same] === after[same]) same += 1;
    return [...before.slice(same).map(() => ".."), ...after.slice(same)].join("/");
  }
  const path = {
    sep: "/", delimiter: ":", normalize, resolve, basename, extname, dirname, relative,
    join: (...all) => { const parts = all.map(text).filter(Boolean); return parts.length === 0 ? "." : normalize(parts.join("/")); },
    isAbsolute: (path) => text(path).startsWith("/"),
  };
  return (path.posix = path);
});

const nodeDecoder = once(() => {
  const Buffer = buffers(), nothing = Buffer.alloc(0);
  function open(bytes, encoding) {
    // How many bytes at the end are a beginning of something.
    if (encoding === "base64" || encoding === "base64url") return bytes.length % 3;
    if (encoding === "utf16le") {
      const odd = bytes.length % 2, last = bytes[bytes.length - 1 - odd];
      return bytes.length > 1 && last >= 0xd8 && last <= 0xdb ? odd + 2 : odd;
    }
    if (encoding !== "utf8") return 0;
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if (byte < 0x80) return 0;
      if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
    }
    return 0;
  }
  return {
    StringDecoder: class StringDecoder {
      #left = nothing;
      constructor(encoding = "utf8") {
        if (!Buffer.isEncoding(encoding)) fail(`Unknown encoding: ${encoding}`);
        this.encoding = String(encoding).toLowerCase().replace(/^utf-?8$/, "utf8").replace(/^(?:ucs-?2|utf-?16le)$/, "utf16le");
      }
      write(given) {
        if (typeof given === "string") return given;
        const all = Buffer.concat([this.#left, Buffer.from(web().view(given))]), whole = all.length - open(all, this.encoding);
        this.#left = all.subarray(whole);
        return all.subarray(0, whole).toString(this.encoding);
      }
      end(given) {
        const text = (given === undefined ? "" : this.write(given)) + this.#left.toString(this.encoding);
        this.#left = nothing;
        return text;
      }
    },
  };
});
