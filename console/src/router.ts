/**
 * Views are URLs: `#/data/<data source>/<database>?sort=…`. They are behind the hash, so that the page works below any
 * prefix, and names and filters are never sent to a server, a proxy or a log.
 */

import { useEffect, useState } from "preact/hooks";

export interface Location {
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

/** What the page of a section is told of the address. */
export interface PageProps {
  /** The parts behind the section's name. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

/** The view that the address names. */
export function here(): Location {
  const [path = "", query = ""] = splitOnce(window.location.hash.replace(/^#\/?/, ""), "?");
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** The address of a view; what is empty or undefined in `query` is left out. */
export function link(path: readonly string[], query: Record<string, string | undefined> = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value);
  const asked = parameters.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

/** Go to another view; `replace` leaves no step back to this one. */
export function go(address: string, replace = false): void {
  if (address === window.location.hash) return;
  if (replace) window.history.replaceState(null, "", address);
  else window.history.pushState(null, "", address);
  for (const listener of listeners) listener();
}

const listeners = new Set<() => void>();
window.addEventListener("popstate", () => listeners.forEach((listener) => listener()));
window.addEventListener("hashchange", () => listeners.forEach((listener) => listener()));

/** The view that the address names, now and whenever it changes. */
export function useLocation(): Location {
  const [location, setLocation] = useState(here);
  useEffect(() => {
    const listener = (): void => setLocation(here());
    listeners.add(listener);
    listener();
    return () => void listeners.delete(listener);
  }, []);
  return location;
}

function splitOnce(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
