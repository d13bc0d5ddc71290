/** The dialog in which a document is written or changed: text, then what would change, then the write. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { parseAny } from "../query/parse";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { Dialog, Failure } from "../ui/parts";
import { array, field, int, type ObjectValue, object, TYPE_NAMES, type Value } from "../values/model";
import { TextError } from "../values/read";
import { write } from "../values/write";
import { apply, type Change, changesOf, shownPath, updateOf } from "./changes";
import { Code } from "./code";
import { numberOf } from "../values/model";

interface Props {
  readonly place: Namespace;
  /** The document as it is stored; null for a new one. */
  readonly base: ObjectValue | null;
  /** What it is to become, where that is known already. */
  readonly wanted?: ObjectValue;
  /** What a new one begins as. */
  readonly begin?: ObjectValue;
  readonly onClose: () => void;
  /** Called once it is written; `after` is null where there are several. */
  readonly onSaved: (before: ObjectValue | null, after: ObjectValue | null) => void;
}

export function EditDialog(props: Props): JSX.Element {
  const { place, onClose } = props;
  const { api } = useSession();
  const [base, setBase] = useState(props.base);
  const [text, setText] = useState(() => write(props.wanted ?? props.base ?? props.begin ?? object([]), 2));
  const [wanted, setWanted] = useState<ObjectValue | null>(props.wanted ?? null);
  const [theirs, setTheirs] = useState<readonly Change[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);

  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const review = (): Promise<void> =>
    attempt(async () => {
      const value = await parseAny(text);
      if (!base) return insert(value);
      if (value.kind !== "object") throw new TextError("A document is an object: {…}", 0, text.length);
      if (write(field(value, "_id") ?? object([])) !== write(field(base, "_id") ?? object([])))
        throw new TextError("_id stays what it is: clone the document to have another", 0, text.length);
      setWanted(value);
    });
  const insert = async (value: Value): Promise<void> => {
    const documents = value.kind === "array" ? value.items : [value];
    if (documents.length === 0 || documents.some(({ kind }) => kind !== "object"))
      throw new TextError("Expected a document {…}, or several in an array", 0, text.length);
    if (value.kind === "array") {
      await api.act("insertMany", place, [["documents", array(documents)]]);
      props.onSaved(null, null);
      return;
    }
    const answer = await api.act("insertOne", place, [["document", value]]);
    const id = field(answer, "insertedId");
    const entries = (value as ObjectValue).entries.filter(([name]) => name !== "_id");
    props.onSaved(null, object(id ? [["_id", id], ...entries] : entries));
  };
  const save = (from: ObjectValue, to: ObjectValue): Promise<void> =>
    attempt(async () => {
      const answer = await api.act("updateOne", place, updateOf(from, to));
      if (numberOf(field(answer, "matchedCount")) === 1) {
        props.onSaved(from, to);
        return;
      }
      const now = await current(from);
      if (!now) throw new Error("Somebody deleted this document meanwhile.");
      const others = changesOf(from, now);
      setTheirs(others);
      setBase(now);
      setWanted(apply(now, changesOf(from, to)) as ObjectValue);
    });
  const current = async (of: ObjectValue): Promise<ObjectValue | null> => {
    const id = field(of, "_id");
    const answer = await api.act("findOne", place, id ? [["filter", object([["_id", object([["$eq", id]])]])]] : [["sort", object([["_id", int(1)]])]]);
    const found = field(answer, "document");
    return found?.kind === "object" ? found : null;
  };

  const title = !base ? "Insert" : wanted ? "What will change" : "Edit document";
  if (base && wanted)
    return (
      <Dialog title={title} wide onClose={onClose}>
        <div class="stack">
          {theirs && (
            <div class="conflict" role="alert">
              <Icon name="warn" />
              <div>
                <p>Somebody changed this document meanwhile. This is what they changed:</p>
                <Changes changes={theirs} />
              </div>
            </div>
          )}
          {theirs && <p>Your changes, on top of theirs:</p>}
          <Changes changes={changesOf(base, wanted)} />
          {error !== null && <Failure error={error} />}
          <footer class="dialog-foot">
            <button
              type="button"
              class="button"
              onClick={() => {
                setText(write(wanted, 2));
                setWanted(null);
                setError(null);
              }}
            >
              Edit further
            </button>
            <span class="grow" />
            <button type="button" class="button" onClick={onClose}>
              Cancel
            </button>
            <button type="button" class="button primary" disabled={busy || changesOf(base, wanted).length === 0} onClick={() => void save(base, wanted)}>
              {theirs ? "Save on top of theirs" : "Save"}
            </button>
          </footer>
        </div>
      </Dialog>
    );
  const misread = error instanceof TextError ? error : null;
  return (
    <Dialog title={title} wide onClose={onClose}>
      <div class="stack">
        <Code label="Document" language="document" focused value={text} onChange={setText} onSubmit={() => void review()} error={misread} />
        <p class="muted small">
          Extended JSON, or as in the shell: <code>{'{ when: ISODate("2026-01-31") }'}</code>. A number with a point is a Double, one without is an
          Int32 or, when it is large, an Int64.{!base && " Several documents go into an array."}
        </p>
        {error !== null && <Failure error={error} />}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" class="button primary" disabled={busy} onClick={() => void review()}>
            {base ? "Review changes" : "Insert"}
          </button>
        </footer>
      </div>
    </Dialog>
  );
}

/** What was and what will be, place by place. */
export function Changes({ changes }: { changes: readonly Change[] }): JSX.Element {
  if (changes.length === 0) return <p class="muted">Nothing is different.</p>;
  return (
    <dl class="changes">
      {changes.map(({ path, before, after }) => (
        <div key={path.join("\n")}>
          <dt>
            <bdi>{shownPath(path)}</bdi>
          </dt>
          {before && <Side value={before} sign="−" kind="was" />}
          {after && <Side value={after} sign="+" kind="becomes" />}
        </div>
      ))}
    </dl>
  );
}

function Side({ value, sign, kind }: { value: Value; sign: string; kind: string }): JSX.Element {
  const text = write(value, 2);
  return (
    <dd class={kind}>
      <span aria-label={kind}>{sign}</span>
      <pre>{text.length > 4000 ? `${text.slice(0, 4000)}…` : text}</pre>
      <span class="muted small">{TYPE_NAMES[value.kind]}</span>
    </dd>
  );
}
