/** Editing one value where it stands: its text, and its type, which stays unless another is chosen. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { isNested, NULL, TYPE_NAMES, type Kind, type Value } from "../values/model";
import { read } from "../values/read";
import { plainText, scalar } from "../values/write";
import { IconButton } from "../ui/parts";

const KINDS: readonly Kind[] = ["string", "int", "long", "double", "decimal", "bool", "date", "objectId", "null"];

/** Whether a value can be edited where it stands; others are edited in the whole document. */
export function isPlainValue(value: Value): boolean {
  const length = "text" in value ? value.text.length : "base64" in value ? value.base64.length : "code" in value ? value.code.length : 0;
  return !isNested(value) && length <= 2000;
}

/** A value as a text to edit; of the rarer types in Extended JSON. */
const textOf = (value: Value): string => (KINDS.includes(value.kind) ? plainText(value) : null) ?? scalar(value);

/** The value of type `kind` that `text` is. Throws what is wrong with it. */
export function scalarFrom(kind: Kind, text: string): Value {
  const trimmed = text.trim();
  const wrapped = (name: string): Value => read(JSON.stringify({ [name]: trimmed }));
  switch (kind) {
    case "string":
      return { kind, text };
    case "null":
      return NULL;
    case "bool":
      if (trimmed !== "true" && trimmed !== "false") throw new Error("Write true or false");
      return { kind, on: trimmed === "true" };
    case "int":
      return wrapped("$numberInt");
    case "long":
      return wrapped("$numberLong");
    case "double":
      return wrapped("$numberDouble");
    case "decimal":
      if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^(NaN|-?Infinity)$/i.test(trimmed)) throw new Error("This is no number");
      return wrapped("$numberDecimal");
    case "objectId":
      return wrapped("$oid");
    case "date":
      return /^-?\d+$/.test(trimmed) ? { kind, ms: String(BigInt(trimmed)) } : wrapped("$date");
    default: {
      const value = read(trimmed);
      if (value.kind !== kind) throw new Error("Write it as Extended JSON");
      return value;
    }
  }
}

interface Props {
  readonly value: Value;
  readonly label: string;
  /** The new value; null when it stays as it is. */
  readonly onDone: (value: Value | null) => void;
}

export function EditScalar({ value, label, onDone }: Props): JSX.Element {
  const [kind, setKind] = useState(value.kind);
  const [text, setText] = useState(() => (value.kind === "null" ? "" : textOf(value)));
  const kinds = KINDS.includes(value.kind) ? KINDS : [value.kind, ...KINDS];
  const [wrong, setWrong] = useState("");
  const input = useRef<HTMLInputElement>(null);
  // At once: the next key is for it already.
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const done = (event: Event): void => {
    event.preventDefault();
    try {
      const made = scalarFrom(kind, text);
      onDone(kind === value.kind && scalar(made) === scalar(value) ? null : made);
    } catch (error) {
      setWrong(`No ${TYPE_NAMES[kind]}${error instanceof Error && !error.message.includes("$") ? `: ${error.message}` : ""}`);
    }
  };
  const keys = (event: KeyboardEvent): void => {
    event.stopPropagation();
    if (event.key === "Escape") {
      event.preventDefault();
      onDone(null);
    }
  };
  return (
    <form class="edit-scalar" onSubmit={done} onKeyDown={keys}>
      <input
        ref={input}
        type="text"
        aria-label={label}
        aria-invalid={wrong !== ""}
        value={text}
        disabled={kind === "null"}
        spellcheck={false}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <select aria-label={`Type of ${label}`} value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
        {kinds.map((one) => (
          <option key={one} value={one}>
            {TYPE_NAMES[one]}
          </option>
        ))}
      </select>
      <button type="submit" class="icon-button" aria-label="Done" title="Done (Enter)">
        ✓
      </button>
      <IconButton icon="close" label="Leave it as it was" onClick={() => onDone(null)} />
      {wrong && (
        <span class="edit-wrong" role="alert">
          {wrong}
        </span>
      )}
    </form>
  );
}
