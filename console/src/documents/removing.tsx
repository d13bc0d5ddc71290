/** Dialogs that delete or change several documents, after saying how many. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Api, messageOf, type Namespace } from "../api";
import { matching } from "../data/catalogue";
import { Code } from "../edit/code";
import { parseAny } from "../query/parse";
import { useSession } from "../session";
import { count, plural } from "../ui/format";
import { FormDialog, TypedConfirm } from "../ui/form";
import { Failure, useLoaded } from "../ui/parts";
import { tell } from "../ui/toasts";
import { among, changeBack, changedOnes, putBack, REMEMBERED, remembered } from "./undoing";
import { array, field, itemsOf, NULL, numberOf, type ObjectValue, object, int } from "../values/model";

/** The filter of documents by their ids. */
export const byIds = (documents: readonly ObjectValue[]): ObjectValue =>
  object([["_id", object([["$in", array(documents.map((one) => field(one, "_id") ?? NULL))]])]]);

/** Said to whom rules judge: they may hide fields from the person, which would not be put back. */
const FOR_GOOD = "This cannot be undone: rules may hide some of what would be deleted from you.";

/** Delete documents that are on the screen, and offer to put them back where all of them is `seen`. */
async function remove(api: Api, place: Namespace, documents: readonly ObjectValue[], seen: boolean, changed: () => void): Promise<void> {
  const filter = byIds(documents);
  if (!seen) {
    const answer = await api.act("deleteMany", place, [["filter", filter]]);
    tell({ text: `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.` });
    return;
  }
  const found = await api.act("find", place, [["filter", filter], ["limit", int(documents.length)]]);
  const whole = itemsOf(found, "documents").filter((one): one is ObjectValue => one.kind === "object");
  const answer = await api.act("deleteMany", place, [["filter", filter]]);
  const undo = async (): Promise<void> => {
    try {
      tell({ text: `${plural(await putBack(api, place, whole), "document")} put back.` });
    } catch (error) {
      tell({ text: `Not all could be put back: ${error instanceof Error ? error.message : ""}`, bad: true });
    }
    changed();
  };
  tell({ text: `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.`, action: { label: "Undo", run: () => void undo() } });
}

export function DeleteSome(props: { place: Namespace; documents: readonly ObjectValue[]; onClose: () => void; onDone: () => void; changed: () => void }): JSX.Element {
  const { api, caller } = useSession();
  const seen = caller.administrator;
  const run = (): Promise<void> => remove(api, props.place, props.documents, seen, props.changed).then(props.onDone);
  return (
    <FormDialog title={`Delete ${plural(props.documents.length, "document")}?`} verb="Delete" danger onClose={props.onClose} onSubmit={run}>
      <p>{seen ? "You can undo this for ten seconds." : FOR_GOOD}</p>
    </FormDialog>
  );
}

interface MatchingProps {
  readonly place: Namespace;
  readonly filter: ObjectValue;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** Offer to take something back, and say what became of it. */
function offer(text: string, back: () => Promise<string>, done: () => void): void {
  const run = (): void =>
    void back()
      .then((told) => tell({ text: told }))
      .catch((error: unknown) => tell({ text: `It could not be undone: ${messageOf(error)}`, bad: true }))
      .finally(done);
  tell({ text, action: { label: "Undo", run } });
}

/** How many match, and whether it can be undone; not `seen` are those of which rules may hide something. */
function Told({ number, verb, seen = true }: { number: number | undefined; verb: string; seen?: boolean }): JSX.Element {
  if (number === undefined) return <p>Counting …</p>;
  const few = number <= REMEMBERED ? "You can undo this for ten seconds." : `This cannot be undone: more than ${count(REMEMBERED)} are not remembered.`;
  return (
    <p>
      <strong>{plural(number, "document")}</strong> {verb}. {seen ? few : FOR_GOOD}
    </p>
  );
}

export function DeleteMatching({ place, filter, onClose, onDone }: MatchingProps): JSX.Element {
  const { api, caller } = useSession();
  const seen = caller.administrator;
  const found = useLoaded((signal) => matching(api, place, filter, 0, signal), [api]);
  const run = async (): Promise<void> => {
    const before = seen ? await remembered(api, place, filter) : null;
    const answer = await api.act("deleteMany", place, [["filter", before ? among(filter, before) : filter]]);
    const deleted = numberOf(field(answer, "deletedCount"));
    const text = `${plural(deleted, "document")} deleted.`;
    if (before && deleted > 0) offer(text, async () => `${plural(await putBack(api, place, before), "document")} put back.`, onDone);
    else tell({ text });
    onDone();
  };
  return (
    <TypedConfirm title="Delete all that match" name={place.collection} verb="Delete them" onClose={onClose} onConfirm={run}>
      {found.error !== undefined && <Failure error={found.error} />}
      <Told number={found.value} verb={`of ${place.collection} would be gone`} seen={seen} />
    </TypedConfirm>
  );
}

export function UpdateMatching({ place, filter, onClose, onDone }: MatchingProps): JSX.Element {
  const { api } = useSession();
  const [text, setText] = useState('{ $set: { "": "" } }');
  const found = useLoaded((signal) => matching(api, place, filter, 0, signal), [api]);
  const run = async (): Promise<void> => {
    const update = await parseAny(text);
    const before = await remembered(api, place, filter);
    const answer = await api.act("updateMany", place, [["filter", before ? among(filter, before) : filter], ["update", update]]);
    const told = `${plural(numberOf(field(answer, "modifiedCount")), "document")} changed.`;
    const changed = before ? await changedOnes(api, place, before) : [];
    const back = async (): Promise<string> => {
      const number = await changeBack(api, place, changed);
      const left = changed.length - number;
      return `${plural(number, "document is what it was", "documents are what they were")}.${left > 0 ? ` ${plural(left, "was", "were")} changed by somebody since, and left so.` : ""}`;
    };
    if (changed.length > 0) offer(told, back, onDone);
    else tell({ text: told });
    onDone();
  };
  return (
    <TypedConfirm title="Update all that match" name={place.collection} verb="Update them" onClose={onClose} onConfirm={run}>
      <Code label="Update" value={text} onChange={setText} />
      {found.error !== undefined && <Failure error={found.error} />}
      <Told number={found.value} verb={`of ${place.collection} match`} />
    </TypedConfirm>
  );
}
