"use strict";

const $ = (id) => document.getElementById(id);
const COLORED_LIMIT = 200_000; // characters; a larger answer is shown as plain text, so that the page stays quick
const METHODS = ["get", "post", "put", "patch", "delete"];

let api = null;
let operations = []; // {id, method, path, operation}
let current = null;
let answerText = "";
const edited = new Map(); // bodies by operation id, so that a change of action loses nothing

// --- JSON as text: numbers of 64 bits would lose digits in JSON.parse --------------------------------------------

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;

function tokens(text) {
  return text.match(TOKEN) ?? [];
}

/** JSON text laid out anew; every literal stays as it was written. */
function layout(text) {
  let out = "";
  let depth = 0;
  const list = tokens(text);
  const line = () => "\n" + "  ".repeat(Math.max(depth, 0));
  list.forEach((token, index) => {
    const before = list[index - 1];
    if (token === "}" || token === "]") {
      depth -= 1;
      out += before === "{" || before === "[" ? token : line() + token;
      return;
    }
    if (before === "{" || before === "[" || before === ",") out += line();
    out += token === ":" ? ": " : token;
    if (token === "{" || token === "[") depth += 1;
  });
  return out;
}

function colored(text) {
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    fragment.append(text.slice(end, match.index));
    end = match.index + match[0].length;
    fragment.append(piece(match[0], /^\s*:/.test(text.slice(end, end + 4))));
  }
  fragment.append(text.slice(end));
  return fragment;
}

function piece(token, isKey) {
  let kind = "";
  if (token.startsWith('"')) kind = isKey ? "k" : "s";
  else if (/^-?\d/.test(token)) kind = "n";
  else if (/^[a-z]/.test(token)) kind = "w";
  if (!kind) return token;
  return element("span", { class: kind }, token);
}

// --- small things ------------------------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Text whose `code` and **bold** parts become elements. */
function prose(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return element("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return element("b", {}, part.slice(2, -2));
    return part;
  });
}

function resolve(schema) {
  let found = schema ?? {};
  while (found.$ref) {
    found = found.$ref.slice(2).split("/").reduce((node, name) => node[name], api);
  }
  return found;
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 4000);
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(done);
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// --- the list of actions -----------------------------------------------------------------------------------------

function listed(document) {
  const found = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = methods[method];
      if (operation) found.push({ id: operation.operationId, method: method.toUpperCase(), path, operation });
    }
  }
  return found;
}

function showList() {
  const wanted = $("search").value.trim().toLowerCase();
  const groups = api.tags.map((tag) => {
    const members = operations.filter((item) => item.operation.tags.includes(tag.name) && matches(item, wanted));
    if (!members.length) return "";
    const items = members.map((item) => {
      const attributes = { href: `#${item.id}`, title: item.operation.summary };
      if (current && item.id === current.id) attributes["aria-current"] = "page";
      return element("li", {}, element("a", attributes, item.id));
    });
    return element("section", {}, element("h2", { class: tag.name }, tag.name), element("ul", {}, ...items));
  });
  $("actions").replaceChildren(...groups);
}

function matches(item, wanted) {
  return !wanted || `${item.id} ${item.operation.summary} ${item.path}`.toLowerCase().includes(wanted);
}

// --- one action --------------------------------------------------------------------------------------------------

function content(item) {
  return item.operation.requestBody?.content["application/json"];
}

function examples(item) {
  const found = content(item);
  if (!found) return [];
  if (found.examples) return Object.values(found.examples);
  return "example" in found ? [{ summary: "Example", value: found.example }] : [];
}

function show(item) {
  if (current && content(current)) edited.set(current.id, $("body").value);
  current = item;
  const { operation } = item;
  $("action").hidden = false;
  $("name").textContent = item.id;
  $("summary").textContent = operation.summary;
  $("method").textContent = item.method;
  $("path").textContent = item.path;
  $("note").replaceChildren(...prose(operation.description ?? ""));
  $("note").hidden = !operation.description;
  const list = examples(item);
  $("example").replaceChildren(...list.map((example, index) => element("option", { value: index }, example.summary)));
  $("example").hidden = list.length < 2;
  const bodyless = !content(item);
  for (const id of ["body", "format", "reset"]) $(id).hidden = bodyless;
  $("bodyless").hidden = !bodyless;
  if (edited.has(item.id)) $("body").value = edited.get(item.id);
  else useExample();
  showFields(item);
  showAnswers(operation);
  clearAnswer();
  showList();
  document.title = `${item.id} · Doorleaf Data API`;
}

function useExample() {
  const example = examples(current)[Number($("example").value) || 0];
  $("body").value = example ? JSON.stringify(example.value, null, 2) : "{}";
}

function showFields(item) {
  const schema = resolve(content(item)?.schema);
  const required = schema.required ?? [];
  const rows = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const cell = element("td", {}, name);
    if (required.includes(name)) cell.append(element("span", { class: "required" }, "required"));
    return element("tr", {}, cell, element("td", {}, typeOf(property)), element("td", {}, ...meaning(property)));
  });
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: "3" }, "none")));
  $("fields").replaceChildren(...rows);
}

function meaning(property) {
  const found = prose(property.description ?? resolve(property).description ?? "");
  if (property.default !== undefined) {
    found.push(" Default: ", element("code", {}, JSON.stringify(property.default)), ".");
  }
  return found;
}

function typeOf(schema) {
  const found = resolve(schema);
  const types = found.anyOf ? found.anyOf.map(typeOf) : [found.type ?? "any"].flat();
  return [...new Set(types)].filter((type) => type !== "null").join(" or ");
}

function showAnswers(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) =>
    element("tr", {}, element("td", {}, status), element("td", {}, ...prose(resolve(response).description))));
  $("answers").replaceChildren(...rows);
}

// --- sending -----------------------------------------------------------------------------------------------------

/** The header that carries the credentials, or null: for public routes none is sent. */
function credentials(secret) {
  const security = current.operation.security ?? api.security;
  if (!secret || !security.length) return null;
  const bearer = $("scheme").value === "bearer" || !security.some((one) => "apiKey" in one);
  return bearer ? ["Authorization", `Bearer ${secret}`] : ["apiKey", secret];
}

function clearAnswer() {
  answerText = "";
  $("status").hidden = true;
  $("timing").textContent = "";
  $("copy").disabled = true;
  $("response").replaceChildren(element("span", { class: "muted" }, "Nothing sent yet."));
}

async function send() {
  if (!current || $("send").disabled) return;
  const sent = current;
  const headers = new Headers({ Accept: $("accept").value });
  const options = { method: sent.method, headers, cache: "no-store", credentials: "omit" };
  if (content(sent)) {
    headers.set("Content-Type", "application/json");
    options.body = $("body").value;
  }
  $("send").disabled = true;
  const started = performance.now();
  try {
    const credential = credentials($("secret").value.trim());
    if (credential) headers.set(...credential);
    const response = await fetch(sent.path, options);
    const text = await response.text();
    if (current === sent) showAnswer(response, text, performance.now() - started);
  } catch (error) {
    clearAnswer();
    $("response").textContent = `The request could not be sent: ${error.message}`;
  } finally {
    $("send").disabled = false;
  }
}

function showAnswer(response, text, milliseconds) {
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  answerText = isJson ? layout(text) : text;
  $("status").textContent = `${response.status} ${response.statusText}`.trim();
  $("status").className = `badge ${response.ok ? "good" : "bad"}`;
  $("status").hidden = false;
  $("timing").textContent = `${milliseconds.toFixed(0)} ms · ${size(new TextEncoder().encode(text).length)}`;
  $("copy").disabled = !text;
  const colors = isJson && answerText.length < COLORED_LIMIT;
  $("response").replaceChildren(colors ? colored(answerText) : answerText || "(no body)");
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`;
}

/** The request as a shell command. The secret is not in it, because commands end up in histories and chats. */
function curl() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = [`curl -X ${current.method} ${quote(location.origin + current.path)}`];
  const credential = credentials("$DOORLEAF_KEY");
  if (credential) parts.push(`-H "${credential[0]}: ${credential[1]}"`);
  parts.push(`-H ${quote(`Accept: ${$("accept").value}`)}`);
  if (content(current)) {
    parts.push(`-H 'Content-Type: application/json'`);
    parts.push(`--data-binary ${quote($("body").value)}`);
  }
  const note = credential ? "Copied. Put your key into the variable DOORLEAF_KEY first." : "Copied.";
  copy(parts.join(" \\\n  "), note);
}

// --- start -------------------------------------------------------------------------------------------------------

function route() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const found = operations.find((item) => item.id === wanted) ?? operations[0];
  if (found && found !== current) show(found);
}

function listen() {
  $("credentials").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", showList);
  $("example").addEventListener("change", useExample);
  $("reset").addEventListener("click", useExample);
  $("format").addEventListener("click", () => { $("body").value = layout($("body").value); });
  $("send").addEventListener("click", send);
  $("curl").addEventListener("click", curl);
  $("copy").addEventListener("click", () => copy(answerText, "Copied."));
  window.addEventListener("hashchange", route);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send();
    }
  });
}

async function start() {
  listen();
  try {
    const response = await fetch("/openapi.json", { cache: "no-store" });
    if (!response.ok) throw new Error(`/openapi.json answered ${response.status}`);
    api = await response.json();
  } catch (error) {
    problem(`The description of the API could not be loaded: ${error.message}`);
    return;
  }
  operations = listed(api);
  $("version").textContent = api.info.version;
  $("description").replaceChildren(
    ...api.info.description.split(/\n\n+/).map((paragraph) => element("p", {}, ...prose(paragraph))));
  route();
}

start();
