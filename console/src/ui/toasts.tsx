/** Short news at the edge of the page, which go away by themselves; one may offer to undo what was done. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { IconButton } from "./parts";

export interface Toast {
  readonly text: string;
  readonly bad?: boolean;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const SHOWN_MS = 10_000;
let shown: (Toast & { id: number })[] = [];
let next = 0;
const listeners = new Set<() => void>();

function change(to: typeof shown): void {
  shown = to;
  for (const listener of listeners) listener();
}

/** Tell the person something. */
export function tell(toast: Toast): void {
  const id = (next += 1);
  change([...shown.slice(-3), { ...toast, id }]);
  window.setTimeout(() => forget(id), SHOWN_MS);
}

const forget = (id: number): void => change(shown.filter((toast) => toast.id !== id));

export function Toasts(): JSX.Element {
  const [, again] = useState(0);
  useEffect(() => {
    const listener = (): void => again((before) => before + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} class={toast.bad ? "toast bad" : "toast"}>
          <span class="wrap">{toast.text}</span>
          {toast.action && (
            <button
              type="button"
              class="button small"
              onClick={() => {
                forget(toast.id);
                toast.action?.run();
              }}
            >
              {toast.action.label}
            </button>
          )}
          <IconButton icon="close" label="Dismiss" onClick={() => forget(toast.id)} />
        </div>
      ))}
    </div>
  );
}
