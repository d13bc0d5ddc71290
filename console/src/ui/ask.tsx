/** A dialog that asks for a few texts and does something with them. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, Failure } from "./parts";

export interface Asked {
  readonly name: string;
  readonly label: string;
  readonly required?: boolean;
  readonly placeholder?: string;
  readonly value?: string;
  /** What there is to choose from, where it is not free. */
  readonly options?: readonly string[];
}

export function Ask(props: {
  title: string;
  verb: string;
  fields: readonly Asked[];
  onClose: () => void;
  onAnswer: (given: Readonly<Record<string, string>>) => Promise<void>;
  children?: ComponentChildren;
}): JSX.Element {
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setError(null);
    try {
      await props.onAnswer(Object.fromEntries([...given].map(([name, value]) => [name, String(value).trim()])));
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        {props.fields.map(({ name, label, required, placeholder, value, options }) => (
          <label key={name} class="field">
            <span>{label}</span>
            {options ? (
              <select name={name} defaultValue={value ?? options[0] ?? ""}>
                {options.map((option) => (
                  <option key={option}>{option}</option>
                ))}
              </select>
            ) : (
              <input name={name} type="text" spellcheck={false} autocomplete="off" required={required ?? false} placeholder={placeholder ?? ""} defaultValue={value ?? ""} />
            )}
          </label>
        ))}
        {props.children}
        {error !== null && <Failure error={error} />}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            {props.verb}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
