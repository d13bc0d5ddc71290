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

const OFFERED = [
  "url", "scheme", "host", "path", "query", "params", "fragment", "username", "password", "digestAuth", "headers", "cookies", "body", "encodeBodyAsJSON", "form",
  "followRedirects", "signal",
];
const each = (given) => Object.entries(given).flatMap(([name, value]) => [].concat(value).map((one) => [name, String(one)]));
const queried = (given) => each(given).map((pair) => pair.map(encodeURIComponent).join("=")).join("&");

function sections(form, boundary) {
  // The fields of a form as multipart/form-data (RFC 7578).
  const quoted = (name) => name.replace(/["\r\n]/g, encodeURIComponent);
  return each(form).map(([name, one]) => `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"\r\n\r\n${one}\r\n`).join("") + `--${boundary}--\r\n`;
}

function jar(cookies) {
  // What the header Cookie says (RFC 6265, section 4.2).
  if (typeof cookies === "string") return cookies;
  const written = ([name, value]) => (/^[^\s;,="]+$/.test(name) && /^[^\s;,"\\]*$/.test(value) ? `${name}=${value}` : fail(`cookies: ${name} has characters that no cookie may have`));
  return each(cookies).map(written).join("; ");
}

async function exchange(method, url, given) {
  const options = typeof url === "string" ? { ...given, url } : { ...url };
  for (const name of Object.keys(options)) if (options[name] && !OFFERED.includes(name)) fail(`context.http: the option ${name} is not available in a function`);
  const { body, encodeBodyAsJSON, form, cookies, username, password, digestAuth, scheme, host, path, query, params, signal, followRedirects } = options;
  const headers = {}, header = (name) => Object.keys(headers).find((one) => one.toLowerCase() === name.toLowerCase()) ?? name;
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = [].concat(value).map(String);
  let text = body;
  if (form) {
    if (typeof form !== "object" || body) fail("form: expected an object with the fields, in place of a body");
    const kind = header("Content-Type"), boundary = randomBytes(16).toHex(), parted = /^multipart\/form-data/i.test(headers[kind]?.[0]);
    text = parted ? sections(form, boundary) : queried(form);
    if (parted) headers[kind] = [`multipart/form-data; boundary=${boundary}`];
    else headers[kind] ??= ["application/x-www-form-urlencoded"];
  } else if (encodeBodyAsJSON) {
    text = stringify(body);
    headers[header("Content-Type")] ??= ["application/json"];
  } else if (typeof body === "object" && body !== null && !(body instanceof types.Binary) && !ArrayBuffer.isView(body)) {
    throw new TypeError("body: expected text or Binary; encodeBodyAsJSON writes an object as JSON");
  }
  if (cookies) headers[header("Cookie")] = [[...(headers[header("Cookie")] ?? []), jar(cookies)].join("; ")];
  let target = options.url ?? `${scheme ?? "https"}://${host ?? fail("context.http: expected a url or a host")}${path ?? ""}`;
  const pairs = queried(params ?? query ?? {});
  if (pairs) {
    target = target.replace(/#[^]*$/, "");
    target += (target.includes("?") ? "&" : "?") + pairs;
  }
  // Who is named in the address, or beside it.
  const [, start, named, rest] = /^(https?:\/\/)([^/?#]*)@([^]*)$/i.exec(target) ?? [];
  if (named !== undefined) target = start + rest;
  const [, name, secret] = /^([^:]*):?([^]*)$/.exec(named ?? ""), user = [username ?? decodeURIComponent(name), password ?? decodeURIComponent(secret)];
  const known = username !== undefined || named !== undefined;
  if (digestAuth && !known) fail("digestAuth: expected a username and a password beside it");
  if (known && !digestAuth) headers[header("Authorization")] ??= [`Basic ${toBase64(user.join(":"))}`];
  const answer = await sent({ to: "http", method, url: target, headers, body: content(text), follow: followRedirects === true, digest: digestAuth ? user : undefined }, signal);
  const got = received(answer.body);
  return { status: answer.status, statusCode: answer.statusCode, headers: answer.headers, body: got,
    cookies: {}, get contentLength() { return got?.length() ?? 0; } };
}

const http = once(() => {
  const all = {};
  for (const method of ["get", "post", "put", "patch", "delete", "head"]) all[method] = (url, given) => exchange(method.toUpperCase(), url, given);
  return all;
});

async function fetch(url, options) {
  const given = options ?? {}, headers = {}, of = given.headers ?? {};
  // What an answer is packed in is for whoever unpacks it, which fetch does for a function: nothing is.
  for (const [name, value] of typeof of[Symbol.iterator] === "function" ? of : Object.entries(of)) if (!/^accept-encoding$/i.test(name)) headers[name] = [String(value)];
  let { body } = given;
  const kind = typeof body === "string" ? "text/plain" : typeof body === "object" && body instanceof web().URLSearchParams ? "application/x-www-form-urlencoded" : undefined;
  if (kind !== undefined) {
    body = String(body);
    if (!Object.keys(headers).some((name) => /^content-type$/i.test(name))) headers["Content-Type"] = [`${kind};charset=UTF-8`];
  }
  const answer = await sent({ to: "http", method: String(given.method ?? "GET").toUpperCase(), url: String(url), headers,
    body: content(body), follow: given.redirect !== "manual" }, given.signal);
  return fetched(String(url), answer);
}
function fetched(url, answer) {
  // What a Response and its Headers are asked for.
  const got = received(answer.body) ?? new types.Binary(""), all = new Map(Object.entries(answer.headers).map(([name, values]) => [name.toLowerCase(), values]).sort(([one], [other]) => (one < other ? -1 : 1)));
  const entries = () => [...all].flatMap(([name, values]) => (name === "set-cookie" ? values.map((one) => [name, one]) : [[name, values.join(", ")]]));
  const headers = {
    get: (name) => all.get(String(name).toLowerCase())?.join(", ") ?? null, has: (name) => all.has(String(name).toLowerCase()), getSetCookie: () => [...(all.get("set-cookie") ?? [])],
    entries: () => entries().values(), keys: () => entries().map(([name]) => name).values(), values: () => entries().map(([, value]) => value).values(),
    forEach: (visit, self) => { for (const [name, value] of entries()) visit.call(self, value, name, headers); }, [Symbol.iterator]: () => entries().values(),
  };
  const copy = () => got.buffer.slice();
  return {
    status: answer.statusCode, statusText: answer.status.slice(String(answer.statusCode).length + 1), ok: answer.statusCode >= 200 && answer.statusCode < 300, url, type: "basic", headers,
    text: async () => got.text(), json: async () => parse(got.text()), arrayBuffer: async () => copy().buffer, bytes: async () => copy(), clone: () => fetched(url, answer),
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
