/** Dialogs that make, rename and drop collections, and databases with them. */

import type { JSX } from "preact";
import type { Namespace } from "../api";
import { useSession } from "../session";
import { Ask, FormDialog, textIn, TypedConfirm } from "../ui/form";
import { plural } from "../ui/format";
import { tell } from "../ui/toasts";
import { string } from "../values/model";

export function CreateCollection(props: {
  source: string;
  database?: string;
  onClose: () => void;
  onDone: (place: Namespace) => void;
}): JSX.Element {
  const { api } = useSession();
  const create = async (given: FormData): Promise<void> => {
    const place = { source: props.source, database: props.database ?? textIn(given, "database"), collection: textIn(given, "collection") };
    await api.act("createCollection", place);
    props.onDone(place);
  };
  return (
    <FormDialog title={props.database === undefined ? "Create database" : "Create collection"} verb="Create" onClose={props.onClose} onSubmit={create}>
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
    </FormDialog>
  );
}

/** Gives a collection another name in its database. */
export function RenameCollection(props: { place: Namespace; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const { collection } = props.place;
  const rename = async ({ name = "" }: Readonly<Record<string, string>>): Promise<void> => {
    await api.act("renameCollection", props.place, [["to", string(name)]]);
    tell({ text: `${collection} is called ${name} now.` });
    props.onDone();
  };
  return (
    <Ask title="Rename collection" verb="Rename it" fields={[{ name: "name", label: "New name", required: true, value: collection }]} onClose={props.onClose} onAnswer={rename}>
      <p class="muted small">Programs, rules and keys that have the old name have to be changed too.</p>
    </Ask>
  );
}

/** Drops all collections of a database, which is gone with the last. */
export function DropDatabase(props: { source: string; database: string; collections: readonly string[]; onClose: () => void; onDone: () => void; changed: () => void }): JSX.Element {
  const { api } = useSession();
  const { source, database, collections } = props;
  const drop = async (): Promise<void> => {
    try {
      for (const collection of collections) await api.act("dropCollection", { source, database, collection });
    } catch (error) {
      props.changed();
      throw error;
    }
    tell({ text: `${database} was dropped.` });
    props.onDone();
  };
  return (
    <TypedConfirm title="Drop database" name={database} verb="Drop it" onClose={props.onClose} onConfirm={drop}>
      <p>
        <strong>{plural(collections.length, "collection")}</strong> of <bdi class="mono wrap">{database}</bdi>, with all documents and indexes, will be gone
        one after the other. This cannot be undone.
      </p>
    </TypedConfirm>
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
