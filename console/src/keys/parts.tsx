/** Parts of the list of keys and of the page of one. */

import type { JSX } from "preact";
import { SecretDialog } from "../ui/form";
import { type Key, type NewKey, stateOf } from "./model";
import { Snippets } from "./snippets";

export function State({ of: key }: { of: Key }): JSX.Element {
  const state = stateOf(key);
  return <span class={state === "in force" ? "badge good" : state === "disabled" ? "badge warn" : "badge bad"}>{state}</span>;
}

/** Shows a key's text, which the server tells this once. */
export function NewKeyDialog({ made, onClose }: { made: NewKey; onClose: () => void }): JSX.Element {
  return (
    <SecretDialog title={`The key ${made.name}`} secrets={[["", made.key]]} onClose={onClose}>
      <Snippets secret={made.key} database={made.databases?.[0]} collection={made.collections?.[0]?.split(".").slice(1).join(".") || undefined} />
    </SecretDialog>
  );
}
