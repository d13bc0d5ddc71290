/** The queries or pipelines of a collection that the person saved, and saving what is shown. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { messageOf, type Namespace } from "../api";
import { go } from "../router";
import { addressOf, forget, knownOf, save, type Saved, savedOf } from "../saved";
import { useSession } from "../session";
import { FormDialog, textIn } from "../ui/form";
import { IconButton } from "../ui/parts";
import { tell } from "../ui/toasts";

const TITLES = { query: "Saved queries", pipeline: "Saved pipelines" } as const;

/** `asked` has the parameters of the address that are saved; what is empty is left out. */
export function SavedOnes({ kind, place, asked }: { kind: Saved["kind"]; place: Namespace; asked: Readonly<Record<string, string>> }): JSX.Element {
  const [open, setOpen] = useState(false);
  return (
    <>
      <IconButton icon="star" label={TITLES[kind]} onClick={() => setOpen(true)} />
      {open && <Dialogue {...{ kind, place, asked }} onClose={() => setOpen(false)} />}
    </>
  );
}

function Dialogue(props: { kind: Saved["kind"]; place: Namespace; asked: Readonly<Record<string, string>>; onClose: () => void }): JSX.Element {
  const { kind, place, onClose } = props;
  const { api, caller } = useSession();
  const [all, setAll] = useState(() => knownOf(caller.id));
  useEffect(() => void savedOf(api, caller.id).then(setAll), [api, caller.id]);
  const own = all.filter((one) => one.kind === kind && JSON.stringify(one.place) === JSON.stringify(place));
  const asked = new URLSearchParams(Object.entries(props.asked).filter(([, text]) => text !== "")).toString();
  const keepIt = async (given: FormData): Promise<void> => {
    const name = textIn(given, "name");
    const there = await save(api, caller.id, { kind, name, place, asked });
    tell({ text: there ? `${name} is saved.` : `${name} is saved, in this browser alone.` });
    onClose();
  };
  const drop = (one: Saved): void =>
    void forget(api, caller.id, one).then(
      () => setAll(knownOf(caller.id)),
      (error: unknown) => tell({ text: messageOf(error), bad: true }),
    );
  const use = (one: Saved): void => {
    onClose();
    go(addressOf(one));
  };
  return (
    <FormDialog title={TITLES[kind]} verb="Save" ready={asked !== ""} onClose={onClose} onSubmit={keepIt}>
      {own.length === 0 ? (
        <p class="muted">None yet for this collection. What you save is yours alone, in every browser that you sign in with.</p>
      ) : (
        <ul class="saved">
          {own.map((one) => (
            <li key={one.name} class="row">
              <button type="button" class="button grow" onClick={() => use(one)}>
                <bdi class="clip">{one.name}</bdi>
                {one.id === undefined && <span class="muted small">in this browser</span>}
              </button>
              <IconButton icon="trash" label={`Forget ${one.name}`} onClick={() => drop(one)} />
            </li>
          ))}
        </ul>
      )}
      <label class="field">
        <span>{asked ? "Save what is shown as" : "Nothing is asked that could be saved"}</span>
        <input name="name" type="text" required autocomplete="off" disabled={asked === ""} />
      </label>
    </FormDialog>
  );
}
