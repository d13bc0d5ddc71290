/** The choice of what columns a table has. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog, IconButton } from "../ui/parts";

export function ColumnChoice(props: { all: readonly string[]; hidden: ReadonlySet<string>; onChange: (hidden: ReadonlySet<string>) => void }): JSX.Element {
  const { all, hidden, onChange } = props;
  const [open, setOpen] = useState(false);
  const toggle = (name: string, on: boolean): void => {
    const next = new Set(hidden);
    if (on) next.delete(name);
    else next.add(name);
    onChange(next);
  };
  return (
    <>
      <IconButton icon="columns" label="Columns" pressed={hidden.size > 0} onClick={() => setOpen(true)} />
      {open && (
        <Dialog title="Columns" onClose={() => setOpen(false)}>
          <div class="stack">
            <div class="column-list">
              {all.map((name) => (
                <label key={name} class="check">
                  <input type="checkbox" checked={!hidden.has(name)} onChange={(event) => toggle(name, event.currentTarget.checked)} />
                  <bdi class="wrap mono">{name === "" ? "(no name)" : name}</bdi>
                </label>
              ))}
            </div>
            <footer class="dialog-foot">
              <button type="button" class="button" onClick={() => onChange(new Set(all.filter((name) => name !== "_id")))}>
                None
              </button>
              <button type="button" class="button" onClick={() => onChange(new Set())}>
                All
              </button>
              <button type="button" class="button primary" onClick={() => setOpen(false)}>
                Done
              </button>
            </footer>
          </div>
        </Dialog>
      )}
    </>
  );
}
