/** The part of a form that describes a collection, and what was filled in. */

import type { JSX } from "preact";
import { textIn } from "../ui/form";
import { TYPES } from "./model";

export function CollectionFields({ title }: { title: string }): JSX.Element {
  return (
    <>
      <label class="field">
        <span>{title}</span>
        <input name="collection" type="text" required autocomplete="off" spellcheck={false} placeholder="customers" />
      </label>
      <label class="field">
        <span>Fields, each with its type on a line (may be empty)</span>
        <textarea name="fields" class="mono" rows={4} spellcheck={false} placeholder={"email: string\nage: integer"} />
        <span class="muted small">Types: {TYPES.join(", ")}</span>
      </label>
      <label class="check">
        <input name="enforce" type="checkbox" />
        <span>Refuse documents whose fields have other types</span>
      </label>
    </>
  );
}

/** The collection that was described. Throws Error, which names the line. */
export function collectionIn(given: FormData): { name: string; fields: { name: string; type: string }[]; enforce: boolean } {
  const lines = textIn(given, "fields").split("\n").map((line) => line.trim()).filter(Boolean);
  const fields = lines.map((line) => {
    const [, name = "", type = ""] = /^(.+?)\s*:\s*(\S+)$/.exec(line) ?? [];
    if (!name) throw new Error(`Expected a field and its type, such as "age: integer", and not "${line}".`);
    return { name, type };
  });
  return { name: textIn(given, "collection"), fields, enforce: given.has("enforce") };
}
