/** The frames of pages: where the content of one is, alone or beside a list. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";
import { IconButton } from "./parts";

/** The content of a page, to which people skip. */
export function Page({ children, busy = false }: { children?: ComponentChildren; busy?: boolean }): JSX.Element {
  return (
    <main id="content" tabIndex={-1} class="page" aria-busy={busy}>
      {children}
    </main>
  );
}

/** The content beside a list of what there is; on a narrow screen the list covers it when it is asked for, until `at` changes. */
export function Beside({ label, list, at, children }: { label: string; list: ComponentChildren; at: string; children: ComponentChildren }): JSX.Element {
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [at]);
  return (
    <div class={open ? "split open" : "split"}>
      <aside class="side" aria-label={label}>
        {list}
      </aside>
      <Page>
        <div class="side-toggle">
          <IconButton icon="menu" label={label} pressed={open} onClick={() => setOpen(!open)} />
        </div>
        {children}
      </Page>
    </div>
  );
}

export interface Tab {
  readonly href: string;
  readonly title: string;
  readonly chosen: boolean;
}

/** The head of a page, which may have several parts with an address each, and what can be done. */
export function PageHead(props: { title: string; icon: IconName; tabs?: readonly Tab[]; children?: ComponentChildren }): JSX.Element {
  return (
    <header class="page-head admin-head">
      <h1>
        <Icon name={props.icon} /> <bdi class="wrap">{props.title}</bdi>
      </h1>
      {props.tabs && (
        <nav class="tabs" aria-label={`Parts of ${props.title}`}>
          {props.tabs.map(({ href, title, chosen }) => (
            <a key={href} href={href} aria-current={chosen ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
      )}
      {props.children}
    </header>
  );
}

/** What a page says to those whom the server tells nothing. */
export function ForAdministrators({ what }: { what: string }): JSX.Element {
  return (
    <Page>
      <div class="empty">
        <Icon name="warn" size={28} />
        <h1>{what} are for administrators</h1>
        <p>Sign in with an administrator's key that is limited in nothing, not even in time.</p>
      </div>
    </Page>
  );
}
