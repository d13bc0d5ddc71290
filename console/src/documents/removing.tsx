/** Dialogs that delete or change several documents, after saying how many. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { type Api, messageOf, type Namespace } from "../api";
import { matching } from "../data/catalogue";
import { Code } from "../edit/code";
import { parseAny } from "../query/parse";
import { fieldsOf, type Query } from "../query/query";
import { link } from "../router";
import { useSession } from "../session";
import { count, plural } from "../ui/format";
import { FormDialog, TypedConfirm } from "../ui/form";
import { Failure, useLoaded } from "../ui/parts";
import { tell } from "../ui/toasts";
import { type Entry, field, numberOf, type ObjectValue } from "../values/model";
import { write } from "../values/write";
import { among, byIds, changeBack, changedOnes, putBack, REMEMBERED, remembered } from "./undoing";

/** Said to whom rules judge: they may hide fields from the person, which would not be put back. */
const FOR_GOOD = "This cannot be undone: rules may hide some of what would be deleted from you.";

/** Whether so many documents can be put back. */
const undoable = (number: number): string =>
  number <= REMEMBERED ? "You can undo this for ten seconds." : `This cannot be undone: more than ${count(REMEMBERED)} are not remembered.`;

/** Delete documents that are on the screen, and offer to put them back where all of them is `seen`. */
async function remove(api: Api, place: Namespace, documents: readonly ObjectValue[], seen: boolean, changed: () => void): Promise<void> {
  const filter = byIds(documents);
  if (!seen) {
    const answer = await api.act("deleteMany", place, [["filter", filter]]);
    tell({ text: `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.` });
    return;
  }
  const whole = await remembered(api, place, [["filter", filter]]);
  const answer = await api.act("deleteMany", place, [["filter", filter]]);
  const text = `${plural(numberOf(field(answer, "deletedCount")), "document")} deleted.`;
  if (!whole) return tell({ text });
  const undo = async (): Promise<void> => {
    try {
      tell({ text: `${plural(await putBack(api, place, whole), "document")} put back.` });
    } catch (error) {
      tell({ text: `Not all could be put back: ${error instanceof Error ? error.message : ""}`, bad: true });
    }
    changed();
  };
  tell({ text, action: { label: "Undo", run: () => void undo() } });
}

/** A dialog that asks whether somebody is sure; for several documents that would not come back the name is typed. */
function Sure({ final, ...props }: { title: string; verb: string; name: string; final: boolean; onClose: () => void; onConfirm: () => Promise<void>; children: ComponentChildren }): JSX.Element {
  return final ? <TypedConfirm {...props} /> : <FormDialog {...props} danger onSubmit={props.onConfirm} />;
}

export function DeleteSome(props: { place: Namespace; documents: readonly ObjectValue[]; onClose: () => void; onDone: () => void; changed: () => void }): JSX.Element {
  const { api, caller } = useSession();
  const seen = caller.administrator;
  const number = props.documents.length;
  const run = (): Promise<void> => remove(api, props.place, props.documents, seen, props.changed).then(props.onDone);
  return (
    <Sure title={`Delete ${plural(number, "document")}?`} verb="Delete" name={props.place.collection} final={number > (seen ? REMEMBERED : 1)} onClose={props.onClose} onConfirm={run}>
      <p>{seen ? undoable(number) : FOR_GOOD}</p>
    </Sure>
  );
}

/** What says which documents are meant. */
export type Which = Pick<Query, "filter" | "collation">;

interface MatchingProps {
  readonly place: Namespace;
  readonly which: Which;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** What says which of the documents are meant that were remembered. */
const amongThem = (which: Which, before: readonly ObjectValue[] | null): Entry[] =>
  fieldsOf(before ? { ...which, filter: among(which.filter, before) } : which);

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
function Told({ place, which, verb, seen = true }: { place: Namespace; which: Which; verb: string; seen?: boolean }): JSX.Element {
  const { api } = useSession();
  const { value: number, error } = useLoaded((signal) => matching(api, place, which, signal), [api]);
  if (error !== undefined) return <Failure error={error} />;
  if (number === undefined) return <p>Counting …</p>;
  const final = !seen || number > REMEMBERED;
  const address = link(["transfer", "export", place.source, place.database, place.collection], { filter: write(which.filter), collation: which.collation.entries.length > 0 ? write(which.collation) : "" });
  return (
    <>
      <p>
        <strong>{plural(number, "document")}</strong> {verb}. {seen ? undoable(number) : FOR_GOOD}
      </p>
      {final && (
        <p>
          <a href={address}>Export them first</a> to have a copy.
        </p>
      )}
    </>
  );
}

export function DeleteMatching({ place, which, onClose, onDone }: MatchingProps): JSX.Element {
  const { api, caller } = useSession();
  const seen = caller.administrator;
  const run = async (): Promise<void> => {
    const before = seen ? await remembered(api, place, fieldsOf(which)) : null;
    const answer = await api.act("deleteMany", place, amongThem(which, before));
    const deleted = numberOf(field(answer, "deletedCount"));
    const text = `${plural(deleted, "document")} deleted.`;
    if (before && deleted > 0) offer(text, async () => `${plural(await putBack(api, place, before), "document")} put back.`, onDone);
    else tell({ text });
    onDone();
  };
  return (
    <TypedConfirm title="Delete all that match" name={place.collection} verb="Delete them" onClose={onClose} onConfirm={run}>
      <Told place={place} which={which} verb={`of ${place.collection} would be gone`} seen={seen} />
    </TypedConfirm>
  );
}

/** Change what matches: `chosen` are those that somebody has selected, and everything without that. */
export function UpdateMatching({ place, which, chosen, onClose, onDone }: MatchingProps & { chosen?: number }): JSX.Element {
  const { api } = useSession();
  const [text, setText] = useState('{ $set: { "": "" } }');
  const run = async (): Promise<void> => {
    const update = await parseAny(text);
    const before = await remembered(api, place, fieldsOf(which));
    const answer = await api.act("updateMany", place, [...amongThem(which, before), ["update", update]]);
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
  const editor = <Code label="Update" rows={5} value={text} onChange={setText} />;
  if (chosen !== undefined)
    return (
      <Sure title={`Update ${plural(chosen, "document")}`} verb="Update them" name={place.collection} final={chosen > REMEMBERED} onClose={onClose} onConfirm={run}>
        {editor}
        <p>{undoable(chosen)}</p>
      </Sure>
    );
  return (
    <TypedConfirm title="Update all that match" name={place.collection} verb="Update them" onClose={onClose} onConfirm={run}>
      {editor}
      <Told place={place} which={which} verb={`of ${place.collection} match`} />
    </TypedConfirm>
  );
}
