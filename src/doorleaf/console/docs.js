"use strict";

const $ = (id) => document.getElementById(id);
const COLORED_LIMIT = 200_000; // characters; a larger answer is shown as plain text, so that the page stays quick
const METHODS = ["get", "post", "put", "patch", "delete"];
/** What stands before every path of the server: a proxy may serve it under one of its own. */
const base = location.pathname.replace(/\/docs\/?$/, "");

let api = null;
let operations = []; // {id, method, path, operation}
let current = null;
let answerText = "";
const entered = new Map(); // parameters, in the same way
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

// --- parameters --------------------------------------------------------------------------------------------------

function parameters(item) {
  return [...(api.paths[item.path].parameters ?? []), ...(item.operation.parameters ?? [])].map(resolve);
}

function showParameters(item) {
  const rows = parameters(item).map((parameter) => {
    const id = `parameter-${parameter.in}-${parameter.name}`;
    const label = element("label", { for: id }, element("code", {}, parameter.name));
    if (parameter.required) label.append(element("span", { class: "required" }, "required"));
    const meaning = element("span", { class: "muted" }, ...prose(parameter.description ?? ""));
    return element("div", { class: "parameter" }, label, input(id, parameter), meaning);
  });
  $("parameters").replaceChildren(element("legend", {}, "Parameters"), ...rows);
  $("parameters").hidden = !rows.length;
}

function input(id, parameter) {
  const schema = resolve(parameter.schema);
  const attributes = { id, "data-name": parameter.name, "data-in": parameter.in, autocomplete: "off" };
  const before = entered.get(`${current.id} ${id}`) ?? "";
  let made;
  if (schema.enum) {
    made = element("select", attributes, ...["", ...schema.enum].map((one) => element("option", {}, String(one))));
  } else {
    const shown = String(parameter.example ?? schema.default ?? "");
    made = element("input", { ...attributes, placeholder: shown, spellcheck: "false" });
  }
  made.value = before;
  made.addEventListener("input", () => { entered.set(`${current.id} ${id}`, made.value); showPath(); });
  return made;
}

/** The path with its parameters and the query; what of the path is not entered stays as it is written. */
function target() {
  let path = current.path;
  const query = new URLSearchParams();
  for (const field of $("parameters").querySelectorAll("[data-name]")) {
    const { name, in: where } = field.dataset;
    if (!field.value) continue;
    if (where === "path") path = path.replace(`{${name}}`, encodeURIComponent(field.value));
    else if (where === "query") query.set(name, field.value);
  }
  return query.size ? `${path}?${query}` : path;
}

function showPath() {
  $("path").textContent = target();
}

/** The first field that has to be filled in and is not. */
function missing() {
  const required = parameters(current).filter((parameter) => parameter.required);
  return required.map((parameter) => $(`parameter-${parameter.in}-${parameter.name}`)).find((field) => !field.value);
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
  showParameters(item);
  showPath();
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
  const options = found.anyOf ?? found.oneOf;
  return [...new Set(options ? options.map(typeOf) : [found.type ?? "any"].flat())]
    .filter((type) => type && type !== "null") // an option that is null alone leaves nothing
    .join(" or ");
}

function showAnswers(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const found = resolve(response);
    const cell = element("td", {}, ...prose(found.description));
    const answer = Object.values(found.content ?? {})[0];
    if (answer?.schema) {
      const form = shape(answer.schema);
      const details = element("details", {}, element("summary", {}, "Shape"), element("pre", { class: "shape" }, form));
      details.open = status.startsWith("2");
      cell.append(details);
    }
    return element("tr", {}, element("td", {}, status), cell);
  });
  $("answers").replaceChildren(...rows);
}

/** A schema as an outline: members with their types, `?` after those that may be absent. */
function shape(schema, depth = 0) {
  const found = resolve(schema);
  const indent = "  ".repeat(depth);
  if (depth > 5) return "…";
  const options = found.anyOf ?? found.oneOf;
  if (options) return [...new Set(options.map((option) => shape(option, depth)))].join(" | ");
  if (found.allOf) return found.allOf.map((part) => shape(part, depth)).join(" & ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (found.items) return `[ ${shape(found.items, depth)} … ]`;
  const members = Object.entries(found.properties ?? {}).map(([name, property]) => {
    const mark = (found.required ?? []).includes(name) ? "" : "?";
    return `${indent}  ${name}${mark}: ${shape(property, depth + 1)}`;
  });
  if (members.length) return `{\n${members.join(",\n")}\n${indent}}`;
  return [found.type ?? "any"].flat().join(" | ");
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
  const empty = missing();
  if (empty) {
    empty.focus();
    toast(`${empty.dataset.name} is required.`);
    return;
  }
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
    const response = await fetch(base + target(), options);
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
  const parts = [`curl -X ${current.method} ${quote(location.origin + base + target())}`];
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
  if (location.hash === "#content" && current) return; // the link that skips what comes before
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
    const response = await fetch(`${base}/openapi.json`, { cache: "no-store" });
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
