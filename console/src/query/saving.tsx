/** The queries or pipelines of a collection that the person saved, and saving what is shown. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { go } from "../router";
import { addressOf, forget, save, type Saved, savedOf } from "../saved";
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
  const { caller } = useSession();
  const [, again] = useState(0);
  const own = savedOf(caller.id).filter((one) => one.kind === kind && JSON.stringify(one.place) === JSON.stringify(place));
  const asked = new URLSearchParams(Object.entries(props.asked).filter(([, text]) => text !== "")).toString();
  const keepIt = async (given: FormData): Promise<void> => {
    const name = textIn(given, "name");
    save(caller.id, { kind, name, place, asked });
    tell({ text: `${name} is saved in this browser.` });
    onClose();
  };
  const use = (one: Saved): void => {
    onClose();
    go(addressOf(one));
  };
  return (
    <FormDialog title={TITLES[kind]} verb="Save" ready={asked !== ""} onClose={onClose} onSubmit={keepIt}>
      {own.length === 0 ? (
        <p class="muted">None yet for this collection. What is saved stays in this browser, for you.</p>
      ) : (
        <ul class="saved">
          {own.map((one) => (
            <li key={one.name} class="row">
              <button type="button" class="button grow" onClick={() => use(one)}>
                <bdi class="clip">{one.name}</bdi>
              </button>
              <IconButton
                icon="trash"
                label={`Forget ${one.name}`}
                onClick={() => {
                  forget(caller.id, one);
                  again((before) => before + 1);
                }}
              />
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
