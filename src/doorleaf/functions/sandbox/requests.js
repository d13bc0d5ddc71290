// The modules http and https of Node.js: requests that the server makes, as it does those of context.http. A part of the prelude.

const nodeHttp = once(() => {
  const { Readable, Writable } = nodeStream(), { inherits } = nodeUtil(), Emitter = nodeEvents(), Buffer = buffers();
  const later = nodeProcess().nextTick;
  const METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
  const STATUS_CODES = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other",
    304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
    411: "Length Required", 412: "Precondition Failed", 413: "Payload Too Large", 415: "Unsupported Media Type", 418: "I'm a Teapot",
    422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
  };
  // What the server sets itself: the body is sent whole, on a connection of its own.
  const OURS = ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te"];
  // What would make another connection than the server's, with its checks.
  const OTHERS = ["socketPath", "createConnection", "lookup", "localAddress", "ca", "cert", "key", "pfx", "passphrase", "checkServerIdentity"];

  class Agent extends Emitter {
    constructor(given = {}) {
      super();
      this.options = { ...given };
      this.maxSockets = given.maxSockets ?? Infinity;
      this.maxFreeSockets = given.maxFreeSockets ?? 256;
      this.keepAlive = given.keepAlive === true;
      this.sockets = this.requests = this.freeSockets = {};
    }
    createConnection() { fail("http.Agent.createConnection is not available in a function"); }
    addRequest() { fail("http.Agent.addRequest is not available in a function"); }
    getName() { return "localhost::"; }
    destroy() {}
  }

  // What packages find in the place of a connection.
  function socket(encrypted) {
    const made = new Emitter();
    for (const name of ["setKeepAlive", "setNoDelay", "setTimeout", "ref", "unref", "destroy", "end"]) made[name] = () => made;
    return Object.assign(made, { connecting: false, destroyed: false, readable: true, writable: true, encrypted, authorized: encrypted });
  }

  function IncomingMessage(answer, request) {
    Readable.call(this);
    const { status, statusCode, headers, body } = answer;
    this.headers = {};
    this.rawHeaders = [];
    for (const [name, values] of Object.entries(headers)) {
      const lower = name.toLowerCase();
      this.headers[lower] = lower === "set-cookie" ? values : values.join(lower === "cookie" ? "; " : ", ");
      for (const value of values) this.rawHeaders.push(name, value);
    }
    Object.assign(this, {
      statusCode, statusMessage: status.slice(String(statusCode).length + 1), httpVersion: "1.1", httpVersionMajor: 1, httpVersionMinor: 1,
      trailers: {}, rawTrailers: [], complete: true, aborted: false, req: request, socket: request.socket, connection: request.socket,
    });
    const got = body === undefined || body === null ? "" : body.base64 === undefined ? Buffer.from(body.text) : Buffer.from(body.base64, "base64");
    if (got.length > 0) this.push(got);
    this.push(null);
  }
  inherits(IncomingMessage, Readable);
  define(IncomingMessage.prototype, "setTimeout", { value() { return this; }, writable: true, configurable: true });

  const read = (url, given, told, base) => {
    // The options of a request, the address before them.
    if (typeof given === "function") [given, told] = [undefined, given];
    if (typeof url === "string") url = new (web().URL)(url);
    let found = { ...url, ...given };
    if (url instanceof web().URL) {
      const { protocol, hostname, port, pathname, search, username, password } = url;
      found = { protocol, hostname, port, path: pathname + search, ...(username || password ? { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` } : {}), ...given };
    }
    found.protocol ??= base;
    if (found.protocol !== base) throw Object.assign(new TypeError(`Protocol "${found.protocol}" not supported. Expected "${base}"`), { code: "ERR_INVALID_PROTOCOL" });
    const agent = found.agent || undefined;
    for (const options of [found, agent?.options ?? {}]) {
      for (const name of OTHERS) if (options[name] !== undefined && options[name] !== null) fail(`http.request: the option ${name} is not available in a function`);
      if (options.rejectUnauthorized === false) fail("http.request: certificates are always checked in a function, whatever rejectUnauthorized says");
    }
    if (agent !== undefined && (agent.createConnection !== Agent.prototype.createConnection || agent.addRequest !== Agent.prototype.addRequest)) {
      fail("http.request: agents with connections of their own, for proxies perhaps, are not available in a function");
    }
    return [found, told];
  };

  function ClientRequest(url, given, told, base = "http:") {
    Writable.call(this, { autoDestroy: false });
    const [found, listens] = read(url, given, told, base);
    const host = String(found.hostname ?? found.host ?? "localhost"), secure = base === "https:", port = Number(found.port || found.defaultPort || (secure ? 443 : 80));
    this.method = String(found.method ?? "GET").toUpperCase();
    if (!METHODS.includes(this.method)) fail(`http.request: the method ${this.method} is not available in a function`);
    this.path = String(found.path ?? "/") || "/";
    if (/[^\x21-\xff]/.test(this.path)) throw Object.assign(new TypeError("Request path contains unescaped characters"), { code: "ERR_UNESCAPED_CHARACTERS" });
    const place = `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}${port === (secure ? 443 : 80) ? "" : `:${port}`}`;
    Object.assign(this, {
      protocol: base, host, agent: found.agent || undefined, aborted: false, finished: false, reusedSocket: false, headersSent: false, maxHeadersCount: null,
      shouldKeepAlive: false, res: null, socket: socket(secure),
    });
    this.connection = this.socket;
    define(this, "its", { value: { place, headers: new Map(), pieces: [], timer: undefined, answered: false, ends: new (events().AbortController)() } });
    const headers = Array.isArray(found.headers) ? pairs(found.headers) : Object.entries(found.headers ?? {});
    for (const [name, value] of headers) if (value !== undefined) this.setHeader(name, value);
    if (found.auth && !this.hasHeader("authorization")) this.setHeader("Authorization", `Basic ${Buffer.from(String(found.auth)).toString("base64")}`);
    if (!this.hasHeader("host")) this.setHeader("Host", place);
    if (typeof listens === "function") this.once("response", listens);
    if (found.timeout) this.setTimeout(found.timeout);
    if (found.signal) this.once("close", heeding(found.signal, (reason) => this.destroy(abortion(reason))));
    later(() => { if (!this.destroyed) { this.emit("socket", this.socket); this.socket.emit("connect"); if (secure) this.socket.emit("secureConnect"); } });
  }
  inherits(ClientRequest, Writable);
  const pairs = (list) => (Array.isArray(list[0]) ? list : Array.from({ length: list.length / 2 }, (_, at) => [list[at * 2], list[at * 2 + 1]]));
  const CODES = [[/has no address/, "ENOTFOUND"], [/took too long/, "ETIMEDOUT"], [/functions_http_allow|may not reach/, "EACCES"], [/cannot be reached/, "ECONNREFUSED"]];

  const methods = {
    setHeader(name, value) {
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(String(name))) throw Object.assign(new TypeError(`Header name must be a valid HTTP token ["${name}"]`), { code: "ERR_INVALID_HTTP_TOKEN" });
      if (value === undefined) throw Object.assign(new TypeError(`Invalid value "undefined" for header "${name}"`), { code: "ERR_HTTP_INVALID_HEADER_VALUE" });
      this.its.headers.set(String(name).toLowerCase(), [String(name), value]);
      return this;
    },
    getHeader(name) { return this.its.headers.get(String(name).toLowerCase())?.[1]; },
    hasHeader(name) { return this.its.headers.has(String(name).toLowerCase()); },
    removeHeader(name) { this.its.headers.delete(String(name).toLowerCase()); },
    getHeaders() { return Object.fromEntries([...this.its.headers].map(([name, [, value]]) => [name, value])); },
    getHeaderNames() { return [...this.its.headers.keys()]; },
    getRawHeaderNames() { return [...this.its.headers.values()].map(([name]) => name); },
    appendHeader(name, value) { return this.setHeader(name, [].concat(this.getHeader(name) ?? [], value)); },
    flushHeaders() {}, setNoDelay() {}, setSocketKeepAlive() {}, onSocket() {}, addTrailers() { fail("http.request: trailers are not available in a function"); },
    _write(piece, encoding, done) { this.its.pieces.push(piece); done(); },
    _final(done) {
      this.finished = this.headersSent = true;
      send(this).then((answer) => fallible(arrive, [this, answer]), (error) => fallible(lose, [this, error]));
      done();
    },
    setTimeout(milliseconds, work) {
      if (typeof work === "function") this.once("timeout", work);
      stop(this.its.timer);
      const time = Number(milliseconds);
      if (time > 0 && !this.its.answered) this.its.timer = after(() => this.emit("timeout"), time, false, []);
      return this;
    },
    abort() {
      if (this.aborted) return;
      this.aborted = true;
      later(() => this.emit("abort"));
      this.destroy();
    },
    destroy(error) {
      if (this.destroyed) return this;
      stop(this.its.timer);
      const { answered, ends } = this.its;
      this.its.answered = true;
      ends.abort();
      if (this.res !== null) { this.res.aborted = true; this.res.destroy(error); }
      const why = error ?? (answered ? undefined : Object.assign(new Error("socket hang up"), { code: "ECONNRESET" }));
      return Writable.prototype.destroy.call(this, why);
    },
  };
  for (const name in methods) define(ClientRequest.prototype, name, { value: methods[name], writable: true, configurable: true });

  async function send(asking) {
    const { place, headers, pieces, ends } = asking.its, told = {};
    for (const [lower, [name, value]] of headers) {
      if (lower === "host" && String(value).toLowerCase() !== place.toLowerCase() && String(value).toLowerCase() !== asking.host.toLowerCase()) fail("http.request: the header Host is that of the address in a function");
      if (lower === "upgrade" || lower === "expect") fail(`http.request: the header ${name} is not available in a function`);
      if (!OURS.includes(lower)) told[name] = [].concat(value).map(String);
    }
    const body = pieces.length === 0 ? undefined : content(Buffer.concat(pieces));
    return sent({ to: "http", method: asking.method, url: `${asking.protocol}//${place}${asking.path}`, headers: told, body, follow: false }, ends.signal);
  }
  function arrive(asking, answer) {
    if (asking.its.answered) return;
    asking.its.answered = true;
    stop(asking.its.timer);
    const message = asking.res = new IncomingMessage(answer, asking);
    message.once("end", () => { if (!asking.destroyed) asking.emit("close"); });
    if (!asking.emit("response", message)) message.resume();
  }
  function lose(asking, error) {
    if (asking.its.answered) return;
    asking.its.answered = true;
    const code = CODES.find(([words]) => words.test(error.message))?.[1];
    asking.destroy(Object.assign(new Error(error.message), { code: code ?? "ECONNRESET", syscall: "request", host: asking.host }));
  }

  const refusing = (name) => () => fail(`http.${name} is not available in a function`);
  return (base) => {
    const asking = (url, given, told) => new ClientRequest(url, given, told, base);
    class Own extends Agent { constructor(given) { super(given); this.protocol = base; this.defaultPort = base === "https:" ? 443 : 80; } }
    return {
      request: asking, get: (url, given, told) => asking(url, given, told).end(), Agent: Own, globalAgent: new Own(), ClientRequest, IncomingMessage, OutgoingMessage: ClientRequest,
      METHODS, STATUS_CODES, maxHeaderSize: 16384, createServer: refusing("createServer"), Server: refusing("Server"), ServerResponse: refusing("ServerResponse"),
      validateHeaderName(name) { if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) fail(`Header name must be a valid HTTP token ["${name}"]`); }, validateHeaderValue() {},
    };
  };
});
