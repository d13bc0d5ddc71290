/** Keys that work everywhere: the palette, the search of the page, and what keys there are. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { keep, kept } from "../kept";
import { Icon } from "./icons";
import { Palette } from "./palette";
import { Dialog, IconButton } from "./parts";

const APPLE = /Mac|iPhone|iPad/.test(navigator.platform);
export const COMMAND = APPLE ? "⌘" : "Ctrl";
const SINGLE = "single-keys";

const KEYS: readonly (readonly [keys: string, what: string])[] = [
  [`${COMMAND} K`, "Go anywhere: pages, collections, saved queries"],
  ["/", "Search on this page, or write its filter"],
  ["?", "This help"],
  ["Esc", "Close what is open"],
  ["Tab, Shift Tab", "From one thing to the next, in editors too"],
  ["Enter", "In a filter: find"],
  [`${COMMAND} Enter`, "In an editor of several lines: go on"],
  ["Ctrl Space", "In an editor: complete fields and operators"],
  ["Arrows, Home, End, Page Up, Page Down", "In a table of documents: move"],
  ["Enter, Space", "In a table of documents: edit the cell, select the row"],
  ["Left, Right", "On the edge of a column: make it narrower or wider"],
];

/** Whether what somebody types there is text. */
function takesText(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select"));
}

/** Go where this page is searched: its filter, else the list beside it. */
function search(): void {
  const places = ["main form[role=search] .code-host", "main input[type=search]", "aside input[type=search]", "main input[type=text]"];
  for (const place of places)
    for (const found of document.querySelectorAll<HTMLElement>(place)) {
      const field = found.shadowRoot?.querySelector<HTMLElement>(".cm-content") ?? (found instanceof HTMLInputElement ? found : null);
      if (!field || !found.checkVisibility()) continue;
      field.focus();
      return;
    }
}

/** Buttons for the palette and the help, with the keys that do the same; and what they open, which is no part of the head. */
export function useKeys(): { readonly buttons: JSX.Element; readonly opened: JSX.Element | null } {
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  useEffect(() => {
    const listen = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const act = (run: () => void): void => {
        event.preventDefault();
        event.stopPropagation();
        run();
      };
      if (event.key.toLowerCase() === "k" && (APPLE ? event.metaKey : event.ctrlKey) && !event.altKey && !event.shiftKey) return act(() => setOpen("palette"));
      if (event.ctrlKey || event.metaKey || event.altKey || takesText(event) || kept(SINGLE) === "off") return;
      if (event.key === "/") act(search);
      if (event.key === "?") act(() => setOpen("help"));
    };
    window.addEventListener("keydown", listen, true);
    return () => window.removeEventListener("keydown", listen, true);
  }, []);
  const close = (): void => setOpen(null);
  const buttons = (
    <>
      <button type="button" class="find" onClick={() => setOpen("palette")} aria-keyshortcuts={APPLE ? "Meta+K" : "Control+K"}>
        <Icon name="search" size={14} /> <span>Go to …</span> <kbd>{COMMAND} K</kbd>
      </button>
      <IconButton icon="help" label="Keys of the keyboard" onClick={() => setOpen("help")} />
    </>
  );
  const opened = open === "palette" ? <Palette onClose={close} help={() => setOpen("help")} /> : open === "help" ? <Help onClose={close} /> : null;
  return { buttons, opened };
}

function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const [single, setSingle] = useState(kept(SINGLE) !== "off");
  const change = (on: boolean): void => {
    keep(SINGLE, on ? null : "off");
    setSingle(on);
  };
  return (
    <Dialog title="Keys" onClose={onClose}>
      <div class="stack">
        <dl class="key-list">
          {KEYS.map(([keys, what]) => (
            <div key={keys}>
              <dt>
                <kbd>{keys}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <label class="check">
          <input type="checkbox" checked={single} onChange={(event) => change(event.currentTarget.checked)} />
          <span>
            The single keys <kbd>/</kbd> and <kbd>?</kbd> do something
          </span>
        </label>
      </div>
    </Dialog>
  );
}
