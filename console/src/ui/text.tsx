/** Texts of programs in forms: what is typed is checked as it is typed, and copied with one press. */

import type { JSX } from "preact";
import { Code } from "../edit/code";
import { TextError } from "../values/read";
import { Icon } from "./icons";
import { tell } from "./toasts";

/** What is the matter with a text, and where. */
export interface Mistake {
  readonly message: string;
  readonly from: number;
  readonly to: number;
}

/** A field for JSON, or another text in which a mistake has a place; `wrong` is what is the matter with it. */
export function TextField(props: {
  label: string;
  value: string;
  onChange: (text: string) => void;
  wrong?: Mistake | null;
  rows?: number;
  placeholder?: string;
}): JSX.Element {
  const { label, value, onChange, wrong = null, rows = 6, placeholder = "" } = props;
  return (
    <div class="field">
      <span class="field-name" aria-hidden="true">
        {label}
      </span>
      <Code label={label} language="document" rows={rows} value={value} onChange={onChange} placeholder={placeholder} error={wrong} />
      <p class="wrong small" role="status">
        {wrong?.message}
      </p>
    </div>
  );
}

/** What is wrong with a text that `read` reads, with the line; null if nothing is. */
export function mistakeIn(text: string, read: (text: string) => unknown): Mistake | null {
  try {
    read(text);
    return null;
  } catch (error) {
    return mistakeOf(text, error);
  }
}

/** What `error` says of a text, with the line where it knows. */
export function mistakeOf(text: string, error: unknown): Mistake {
  if (!(error instanceof TextError)) return { message: error instanceof Error ? error.message : String(error), from: 0, to: text.length };
  const before = text.slice(0, error.from).split("\n");
  const message = `Line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${error.message}`;
  return { message, from: error.from, to: error.to };
}

/** Put a text where people paste from. */
export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    tell({ text: `${what} copied.` });
  } catch {
    tell({ text: "The browser does not let this page copy. Select the text and copy it yourself.", bad: true });
  }
}

/** A text to copy. */
export function Snippet({ label, text }: { label: string; text: string }): JSX.Element {
  return (
    <figure class="snippet">
      <figcaption>
        <span>{label}</span>
        <button type="button" class="button small" onClick={() => void copyText(text, label)}>
          <Icon name="copy" /> Copy
        </button>
      </figcaption>
      <pre class="mono" tabIndex={0} aria-label={label}>
        {text}
      </pre>
    </figure>
  );
}
