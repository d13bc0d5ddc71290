/** Small parts that every page is made of. */

import type { ComponentChildren, JSX } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError, isAborted, messageOf } from "../api";
import { Icon, type IconName } from "./icons";

/** A button that is a picture, with its words for those who do not see it. */
export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: (event: MouseEvent) => void;
  disabled?: boolean;
  pressed?: boolean;
}): JSX.Element {
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={props.label}
      title={props.label}
      disabled={props.disabled ?? false}
      aria-pressed={props.pressed}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

/** A link that is an icon. */
export function IconLink(props: { icon: IconName; label: string; href: string }): JSX.Element {
  return (
    <a class="icon-button" aria-label={props.label} title={props.label} href={props.href}>
      <Icon name={props.icon} />
    </a>
  );
}

/** What went wrong, with what can be done about it. */
export function Failure({ error, retry }: { error: unknown; retry?: (() => void) | undefined }): JSX.Element {
  const code = error instanceof ApiError ? error.code : "";
  return (
    <div class="failure" role="alert">
      <Icon name="warn" />
      <div>
        <p>{messageOf(error)}</p>
        {code && <p class="muted small">{code}</p>}
      </div>
      {retry && (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What is shown where there is nothing yet, and how something comes to be there. */
/** With `whole` it is all that the page has, and its title that of the page. */
export function Empty(props: { title: string; icon?: IconName; whole?: boolean; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      {props.icon && <Icon name={props.icon} size={28} />}
      {props.whole ? <h1>{props.title}</h1> : <h2>{props.title}</h2>}
      {props.children}
    </div>
  );
}

export interface Loaded<T> {
  readonly value: T | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  readonly again: () => void;
}

/** What `load` answers, asked for anew when `when` changes; what was there stays until the new is. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, when: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ value?: T; error?: unknown; loading: boolean }>({ loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setState((before) => ({ ...before, error: undefined, loading: true }));
    load(stop.signal).then(
      (value) => stop.signal.aborted || setState({ value, loading: false }),
      (error: unknown) => stop.signal.aborted || isAborted(error) || setState({ error, loading: false }),
    );
    return () => stop.abort();
  }, [...when, turn]);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  return { value: state.value, error: state.error, loading: state.loading, again };
}

/** Set the title of the window. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Doorleaf` : "Doorleaf";
  }, [title]);
}

/** A dialog over the page: the rest waits, Escape closes it, and the focus comes back to where it was. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  /** Where the focus goes when it is closed; where it was without this, or where this has nothing. */
  then?: () => HTMLElement | null;
  children: ComponentChildren;
}): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  const now = useRef(props);
  now.current = props;
  const gone = useRef(false);
  // Before the page is painted: a key that comes at once, such as Escape, is for the dialog already.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      gone.current = true;
      dialog?.close();
      const after = now.current.then?.() ?? before;
      if (after instanceof HTMLElement) after.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={props.wide ? "dialog wide" : "dialog"}
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      // Browsers close it without asking when Escape comes twice and nothing was done in between.
      onClose={() => gone.current || props.onClose()}
    >
      <header class="dialog-head">
        <h2>{props.title}</h2>
        <IconButton icon="close" label="Close" onClick={props.onClose} />
      </header>
      {props.children}
    </dialog>
  );
}

/** A switch between a few ways to look at the same. */
export function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, text: string, icon?: IconName])[];
  onChange: (value: T) => void;
}): JSX.Element {
  return (
    <div class="choice" role="radiogroup" aria-label={props.label}>
      {props.options.map(([value, text, icon]) => (
        <label key={value} class={value === props.value ? "chosen" : ""}>
          <input type="radio" name={props.label} checked={value === props.value} onChange={() => props.onChange(value)} />
          {icon && <Icon name={icon} />}
          <span>{text}</span>
        </label>
      ))}
    </div>
  );
}
