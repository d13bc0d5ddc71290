/** Dialogs that make a collection, or drop one. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { useSession } from "../session";
import { Dialog, Failure, TypedConfirm } from "../ui/parts";
import { tell } from "../ui/toasts";

export function CreateCollection(props: {
  source: string;
  database?: string;
  onClose: () => void;
  onDone: (place: Namespace) => void;
}): JSX.Element {
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string): string => String(given.get(name) ?? "").trim();
    const place = { source: props.source, database: props.database ?? text("database"), collection: text("collection") };
    setBusy(true);
    try {
      await api.act("createCollection", place);
      props.onDone(place);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={props.database === undefined ? "Create database" : "Create collection"} onClose={props.onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        {props.database === undefined && (
          <label class="field">
            <span>Database</span>
            <input name="database" type="text" required autocomplete="off" spellcheck={false} />
          </label>
        )}
        <label class="field">
          <span>{props.database === undefined ? "Its first collection" : "Collection"}</span>
          <input name="collection" type="text" required autocomplete="off" spellcheck={false} />
        </label>
        {error !== null && <Failure error={error} />}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            Create
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

export function DropCollection(props: { place: Namespace; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const { collection, database } = props.place;
  const drop = async (): Promise<void> => {
    await api.act("dropCollection", props.place);
    tell({ text: `${collection} was dropped.` });
    props.onDone();
  };
  return (
    <TypedConfirm title="Drop collection" name={collection} verb="Drop it" onClose={props.onClose} onConfirm={drop}>
      <p>
        All documents and indexes of <bdi class="mono wrap">{collection}</bdi> in <bdi class="mono">{database}</bdi> will be gone. This
        cannot be undone.
      </p>
    </TypedConfirm>
  );
}
