/** Dialogs with a form, and what became of what it said. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "./icons";
import { Dialog, Failure } from "./parts";
import { copyText, Snippet } from "./text";

/** A dialog with a form; it stays, and says why, where `onSubmit` fails. */
export function FormDialog(props: {
  title: string;
  verb: string;
  wide?: boolean;
  /** Whether what it does is final. */
  danger?: boolean;
  /** Whether it can be sent as it is. */
  ready?: boolean;
  onClose: () => void;
  onSubmit: (given: FormData) => Promise<unknown>;
  children?: ComponentChildren;
}): JSX.Element {
  const { ready = true } = props;
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setError(null);
    try {
      await props.onSubmit(new FormData(event.currentTarget as HTMLFormElement));
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={props.title} onClose={props.onClose} wide={props.wide ?? false}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        {props.children}
        {error !== null && <Failure error={error} />}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class={props.danger ? "button danger" : "button primary"} disabled={!ready || busy}>
            {props.verb}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** What somebody wrote into the field `name`, without the space around it. */
export const textIn = (given: FormData, name: string): string => String(given.get(name) ?? "").trim();

/** A dialog for something that cannot be undone: it is done only when `name` was typed. */
export function TypedConfirm(props: {
  title: string;
  name: string;
  verb: string;
  children: ComponentChildren;
  onClose: () => void;
  onConfirm: () => Promise<void>;
}): JSX.Element {
  const [typed, setTyped] = useState("");
  return (
    <FormDialog title={props.title} verb={props.verb} danger ready={typed === props.name} onClose={props.onClose} onSubmit={props.onConfirm}>
      {props.children}
      <label class="field">
        <span>
          Type <strong class="mono wrap">{props.name}</strong> to confirm
        </span>
        <input type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      </label>
    </FormDialog>
  );
}

export interface Asked {
  readonly name: string;
  readonly label: string;
  readonly required?: boolean;
  readonly placeholder?: string;
  readonly value?: string;
  /** What there is to choose from, where it is not free. */
  readonly options?: readonly string[];
}

/** A dialog that asks for a few texts and does something with them. */
export function Ask(props: {
  title: string;
  verb: string;
  fields: readonly Asked[];
  onClose: () => void;
  onAnswer: (given: Readonly<Record<string, string>>) => Promise<void>;
  children?: ComponentChildren;
}): JSX.Element {
  const answer = (given: FormData): Promise<void> =>
    props.onAnswer(Object.fromEntries([...given].map(([name, value]) => [name, String(value).trim()])));
  return (
    <FormDialog title={props.title} verb={props.verb} onClose={props.onClose} onSubmit={answer}>
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
    </FormDialog>
  );
}

const OVERLAPS = [
  [0, "Not at all: whoever has it is out at once"],
  [3600, "An hour"],
  [86_400, "A day"],
  [604_800, "A week"],
] as const;

/** The field `overlap` of a form: for how long what was before stays valid, in seconds. */
export function Overlap(): JSX.Element {
  return (
    <label class="field">
      <span>How long the text before stays valid</span>
      <select name="overlap" defaultValue="3600">
        {OVERLAPS.map(([seconds, text]) => (
          <option key={seconds} value={seconds}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Secrets that the server tells this once, with what to do with them. */
export function SecretDialog(props: { title: string; secrets: readonly (readonly [name: string, text: string])[]; code?: string; children?: ComponentChildren; onClose: () => void }): JSX.Element {
  return (
    <Dialog title={props.title} onClose={props.onClose} wide>
      <div class="stack">
        <div class="secret">
          <strong>Copy it now: it is shown this once.</strong>
          {props.secrets.map(([name, text]) => (
            <div key={text} class="row">
              {name && <span>{name}</span>}
              <code class="grow">{text}</code>
              <button type="button" class="button small" aria-label={`Copy the ${name || "text"}`} onClick={() => void copyText(text, name || "The text")}>
                <Icon name="copy" /> Copy
              </button>
            </div>
          ))}
        </div>
        {props.code !== undefined && <Snippet label="curl request" text={props.code} />}
        {props.children}
        <footer class="dialog-foot">
          <button type="button" class="button primary" onClick={props.onClose}>
            I have it
          </button>
        </footer>
      </div>
    </Dialog>
  );
}
