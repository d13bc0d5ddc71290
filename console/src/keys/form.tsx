/** The dialog that makes a key or changes one. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useSession } from "../session";
import { FormDialog, textIn } from "../ui/form";
import { type Key, KEYS, LIMITS, LISTS, type NewKey, pathOf } from "./model";

interface Props {
  /** The key to change; without one another is made. */
  readonly known?: Key;
  readonly onClose: () => void;
  readonly onDone: (key: Key | NewKey) => void;
}

const QUOTAS = ["requests", "documents", "bytes"].flatMap((what) => [`${what}_per_day`, `${what}_per_month`]);

const wordsOf = (text: string): string[] => text.split(",").map((part) => part.trim()).filter(Boolean);

/** What the form says, as the administration takes it; with `known` what is empty takes a limit away. */
function bodyOf(given: FormData, known: Key | undefined): Record<string, unknown> {
  const text = (name: string): string => textIn(given, name);
  const body: Record<string, unknown> = known ? {} : { name: text("name"), admin: given.get("admin") === "on" };
  const put = (name: string, value: unknown, empty: boolean): void => {
    if (!empty) body[name] = value;
    else if (known) body[name] = null;
  };
  for (const name of LISTS) {
    if (name === "roles" && (body["admin"] || known?.admin)) continue;
    const words = wordsOf(text(name));
    put(name, words, words.length === 0);
  }
  put("rate", text("rate"), text("rate") === "");
  const quotas = Object.fromEntries(QUOTAS.filter((name) => text(name) !== "").map((name) => [name, Number(text(name))]));
  put("quotas", quotas, Object.keys(quotas).length === 0);
  const expires = text("expires");
  put("expires", expires && new Date(expires).toISOString(), expires === "");
  return body;
}

/** A time as the browser's field for it has it: in the person's zone, without one. */
function localField(at: string | null | undefined): string {
  if (!at) return "";
  const time = new Date(at);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function KeyForm({ known, onClose, onDone }: Props): JSX.Element {
  const { api } = useSession();
  const [admin, setAdmin] = useState(known?.admin ?? false);
  const save = async (given: FormData): Promise<void> => {
    const body = JSON.stringify(bodyOf(given, known));
    onDone(known ? await api.json<Key>(pathOf(known.name), { method: "PATCH", body }) : await api.json<NewKey>(KEYS, { body }));
  };
  return (
    <FormDialog title={known ? `Change ${known.name}` : "Make a key"} verb={known ? "Save" : "Make it"} wide onClose={onClose} onSubmit={save}>
      {!known && (
        <div class="pair">
          <label class="field">
            <span>Name</span>
            <input name="name" type="text" required autocomplete="off" spellcheck={false} pattern="[A-Za-z0-9_\-]{1,100}" title="Letters, digits, _ and -" />
          </label>
          <label class="check">
            <input name="admin" type="checkbox" checked={admin} onChange={(event) => setAdmin(event.currentTarget.checked)} />
            <span>Administrator: rules do not judge it</span>
          </label>
        </div>
      )}
      <fieldset>
        <legend>What it is limited to; empty is no limit</legend>
        <div class="pair">
          {LISTS.filter((name) => name !== "roles" || !admin).map((name) => (
            <Limit key={name} name={name} value={known?.[name]?.join(", ")} />
          ))}
          <Limit name="rate" value={known?.rate} />
          <label class="field">
            <span>Ends</span>
            <input name="expires" type="datetime-local" defaultValue={localField(known?.expires)} />
          </label>
        </div>
      </fieldset>
      <details open={known?.quotas !== undefined}>
        <summary>Quotas</summary>
        <div class="pair">
          {QUOTAS.map((name) => (
            <label key={name} class="field">
              <span>{`${name[0]?.toUpperCase()}${name.slice(1).replaceAll("_", " ")}`}</span>
              <input name={name} type="number" min="1" defaultValue={known?.quotas?.[name] ?? ""} />
            </label>
          ))}
        </div>
      </details>
      {!admin && !known && <p class="muted small">Without rules that give it something, a key that is no administrator may do nothing.</p>}
    </FormDialog>
  );
}

function Limit({ name, value }: { name: keyof typeof LIMITS; value: string | undefined }): JSX.Element {
  const [title, note] = LIMITS[name];
  return (
    <label class="field">
      <span>{title}</span>
      <input name={name} type="text" autocomplete="off" spellcheck={false} placeholder={note} defaultValue={value ?? ""} />
    </label>
  );
}
