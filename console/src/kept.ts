/** What the browser keeps for the person from one visit to the next: choices and queries, never a secret. */

const PREFIX = "doorleaf ";

/** What is kept under `name`; null where nothing is, or the browser keeps nothing. */
export function kept(name: string): string | null {
  try {
    return window.localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** Keep `text` under `name`, or with null nothing any more. Throws Error where the browser does not. */
export function keep(name: string, text: string | null): void {
  try {
    if (text === null) window.localStorage.removeItem(PREFIX + name);
    else window.localStorage.setItem(PREFIX + name, text);
  } catch {
    throw new Error("This browser keeps nothing for this page, or has no room left for it.");
  }
}
