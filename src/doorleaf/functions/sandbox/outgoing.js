// What leaves the app: requests to other servers, and what the server computes for a function. A part of the prelude.

function content(value) {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return { text: value };
  return { base64: value instanceof types.Binary ? value.toBase64() : new types.Binary(value).toBase64() };
}

function received(given) {
  if (given === undefined || given === null) return undefined;
  if (typeof given === "string") return new types.Binary(given);
  return given.base64 === undefined ? new types.Binary(given.text) : new types.Binary(Uint8Array.fromBase64(given.base64));
}

function sent(content, signal) {
  // What another server answers; a signal ends the request, in our server too.
  let number, ended;
  const leave = heeding(signal, (reason) => {
    ended = { reason };
    const waiting = pending.get(number);
    if (waiting === undefined) return;
    waiting.failed(reason);
    sending(CANCEL, number, "");
  });
  if (ended !== undefined) return Promise.reject(ended.reason);
  const answer = requested(stringify(content), SEND);
  number = sequence;
  return signal ? answer.finally(leave) : answer;
}

async function exchange(method, url, given) {
  const { body, encodeBodyAsJSON, headers = {}, params, form, digestAuth, authUrl, cookies, followRedirects, signal, ...rest } =
    typeof url === "string" ? { ...given, url } : { ...url };
  if (digestAuth || authUrl || cookies) throw new Error("context.http has neither digestAuth nor authUrl nor cookies");
  const all = {};
  for (const [name, value] of Object.entries(headers)) all[name] = [].concat(value).map(String);
  let text = body;
  if (form) {
    text = Object.entries(body ?? {}).map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
    all["Content-Type"] ??= ["application/x-www-form-urlencoded"];
  } else if (encodeBodyAsJSON) {
    text = stringify(body);
    all["Content-Type"] ??= ["application/json"];
  } else if (typeof body === "object" && body !== null && !(body instanceof types.Binary) && !ArrayBuffer.isView(body)) {
    throw new TypeError("body: expected text or Binary; encodeBodyAsJSON writes an object as JSON");
  }
  const { scheme, host, path, query, fragment, url: whole } = rest;
  let target = whole ?? `${scheme ?? "https"}://${host}${path ?? ""}`;
  const pairs = Object.entries(params ?? query ?? {}).flatMap(([name, value]) => [].concat(value).map((one) => [name, one]));
  if (pairs.length) target += (target.includes("?") ? "&" : "?") + pairs.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
  const answer = await sent({ to: "http", method, url: target, headers: all, body: content(text), follow: followRedirects === true }, signal);
  const got = received(answer.body);
  return { status: answer.status, statusCode: answer.statusCode, headers: answer.headers, body: got,
    cookies: {}, get contentLength() { return got?.length() ?? 0; } };
}

const http = once(() => {
  const all = {};
  for (const method of ["get", "post", "put", "patch", "delete", "head"]) all[method] = (url, given) => exchange(method.toUpperCase(), url, given);
  return all;
});

async function fetch(url, given = {}) {
  const headers = {};
  for (const [name, value] of Object.entries(given.headers ?? {})) headers[name] = [String(value)];
  const answer = await sent({ to: "http", method: String(given.method ?? "GET").toUpperCase(), url: String(url), headers,
    body: content(given.body), follow: given.redirect !== "manual" }, given.signal);
  const got = received(answer.body) ?? new types.Binary("");
  const lower = Object.fromEntries(Object.entries(answer.headers).map(([name, all]) => [name.toLowerCase(), all.join(", ")]));
  return {
    status: answer.statusCode, statusText: answer.status, ok: answer.statusCode >= 200 && answer.statusCode < 300, url: String(url),
    headers: { get: (name) => lower[String(name).toLowerCase()] ?? null, has: (name) => String(name).toLowerCase() in lower,
      entries: () => Object.entries(lower), [Symbol.iterator]: () => Object.entries(lower)[Symbol.iterator]() },
    text: async () => got.text(), json: async () => parse(got.text()),
    arrayBuffer: async () => got.buffer.slice().buffer,
  };
}

const bytes = (value) => content(value) ?? fail("expected text or Binary");
const utils = once(() => ({
  crypto: {
    hash: (algorithm, input) => asked({ to: "crypto", does: "hash", algorithm, input: bytes(input) }),
    hmac: (input, secret, algorithm, form) => asked({ to: "crypto", does: "hmac", algorithm, input: bytes(input), secret: bytes(secret), form }),
    encrypt: (algorithm, input, key) => asked({ to: "crypto", does: "encrypt", algorithm, input: bytes(input), secret: bytes(key) }),
    decrypt: (algorithm, input, key) => asked({ to: "crypto", does: "decrypt", algorithm, input: bytes(input), secret: bytes(key) }),
    sign: (algorithm, input, key, scheme) => asked({ to: "crypto", does: "sign", algorithm, input: bytes(input), secret: bytes(key), scheme }),
    verify: (algorithm, input, key, signature, scheme) => asked({ to: "crypto", does: "verify", algorithm, input: bytes(input), secret: bytes(key), signature: bytes(signature), scheme }),
  },
  jwt: {
    encode: (method, payload, secret, headers) => asked({ to: "jwt", does: "encode", method, payload: plain(payload), secret: String(secret), headers: plain(headers ?? {}) }),
    decode: (token, key, header, accepted) => asked({ to: "jwt", does: "decode", token: String(token), key: String(key), header: header === true, accepted }),
  },
}));
