/** Texts of programs in forms: what is typed is checked as it is typed, and copied with one press. */

import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { TextError } from "../values/read";
import { Icon } from "./icons";
import { tell } from "./toasts";

/** A field for JSON, or another text in which a mistake has a place; `wrong` is what is the matter with it. */
export function TextField(props: {
  label: string;
  value: string;
  onChange: (text: string) => void;
  wrong?: string | null;
  rows?: number;
  note?: string;
  placeholder?: string;
}): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id} class="field-name">
        {props.label}
      </label>
      <textarea
        id={id}
        class="mono"
        rows={props.rows ?? 6}
        spellcheck={false}
        autocomplete="off"
        value={props.value}
        placeholder={props.placeholder ?? ""}
        aria-invalid={props.wrong ? true : undefined}
        aria-describedby={props.wrong || props.note ? `${id}-note` : undefined}
        onInput={(event) => props.onChange(event.currentTarget.value)}
      />
      {(props.wrong || props.note) && (
        <p id={`${id}-note`} class={props.wrong ? "wrong small" : "muted small"}>
          {props.wrong || props.note}
        </p>
      )}
    </div>
  );
}

/** What is wrong with a text that `read` reads, with the line; null if nothing is. */
export function mistakeIn(text: string, read: (text: string) => unknown): string | null {
  try {
    read(text);
    return null;
  } catch (error) {
    if (!(error instanceof TextError)) return error instanceof Error ? error.message : String(error);
    const before = text.slice(0, error.from).split("\n");
    return `Line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${error.message}`;
  }
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
