/** Dialogs that delete or change several documents, after saying how many. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Api, Namespace } from "../api";
import { matching } from "../data/catalogue";
import { Code } from "../edit/code";
import { parseAny } from "../query/parse";
import { useSession } from "../session";
import { plural } from "../ui/format";
import { FormDialog, TypedConfirm } from "../ui/form";
import { Failure, useLoaded } from "../ui/parts";
import { tell } from "../ui/toasts";
import { array, bool, field, itemsOf, NULL, numberOf, type ObjectValue, object, int } from "../values/model";

/** The filter of documents by their ids. */
export const byIds = (documents: readonly ObjectValue[]): ObjectValue =>
  object([["_id", object([["$in", array(documents.map((one) => field(one, "_id") ?? NULL))]])]]);

/** Delete documents that are on the screen, and offer to put them back as they were. */
export async function remove(api: Api, place: Namespace, documents: readonly ObjectValue[], changed: () => void): Promise<void> {
  const filter = byIds(documents);
  const found = await api.act("find", place, [["filter", filter], ["limit", int(documents.length)]]);
  const whole = itemsOf(found, "documents");
  const answer = await api.act("deleteMany", place, [["filter", filter]]);
  const undo = async (): Promise<void> => {
    try {
      await api.act("insertMany", place, [["documents", array(whole)], ["ordered", bool(false)]]);
      tell({ text: `${plural(whole.length, "document")} put back.` });
    } catch (error) {
      tell({ text: `Not all could be put back: ${error instanceof Error ? error.message : ""}`, bad: true });
    }
    changed();
  };
  tell({ text: `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.`, action: { label: "Undo", run: () => void undo() } });
}

export function DeleteSome(props: { place: Namespace; documents: readonly ObjectValue[]; onClose: () => void; onDone: () => void; changed: () => void }): JSX.Element {
  const { api } = useSession();
  const run = (): Promise<void> => remove(api, props.place, props.documents, props.changed).then(props.onDone);
  return (
    <FormDialog title={`Delete ${plural(props.documents.length, "document")}?`} verb="Delete" danger onClose={props.onClose} onSubmit={run}>
      <p>You can undo this for ten seconds.</p>
    </FormDialog>
  );
}

export function DeleteMatching(props: { place: Namespace; filter: ObjectValue; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const { place, filter } = props;
  const found = useLoaded((signal) => matching(api, place, filter, 0, signal), [api]);
  const run = async (): Promise<void> => {
    const answer = await api.act("deleteMany", place, [["filter", filter]]);
    tell({ text: `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.` });
    props.onDone();
  };
  return (
    <TypedConfirm title="Delete all that match" name={place.collection} verb="Delete them" onClose={props.onClose} onConfirm={run}>
      {found.error !== undefined && <Failure error={found.error} />}
      <p>
        {found.value === undefined ? "Counting …" : <><strong>{plural(found.value, "document")}</strong> of {place.collection} would be gone.</>} This cannot be undone.
      </p>
    </TypedConfirm>
  );
}

export function UpdateMatching(props: { place: Namespace; filter: ObjectValue; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const { place, filter } = props;
  const [text, setText] = useState('{ $set: { "": "" } }');
  const found = useLoaded((signal) => matching(api, place, filter, 0, signal), [api]);
  const run = async (): Promise<void> => {
    const answer = await api.act("updateMany", place, [["filter", filter], ["update", await parseAny(text)]]);
    tell({ text: `${plural(numberOf(field(answer, "modifiedCount")), "document")} changed.` });
    props.onDone();
  };
  return (
    <TypedConfirm title="Update all that match" name={place.collection} verb="Update them" onClose={props.onClose} onConfirm={run}>
      <Code label="Update" value={text} onChange={setText} />
      {found.error !== undefined && <Failure error={found.error} />}
      <p>
        {found.value === undefined ? "Counting …" : <><strong>{plural(found.value, "document")}</strong> of {place.collection} match.</>} This cannot be undone.
      </p>
    </TypedConfirm>
  );
}
