/** The head of a page with several parts, each with an address of its own. */

import type { ComponentChildren, JSX } from "preact";
import { Icon, type IconName } from "./icons";

export interface Tab {
  readonly href: string;
  readonly title: string;
  readonly chosen: boolean;
}

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
    <main id="content" tabIndex={-1} class="page">
      <div class="empty">
        <Icon name="warn" size={28} />
        <h1>{what} are for administrators</h1>
        <p>Sign in with an administrator's key that is limited in nothing, not even in time.</p>
      </div>
    </main>
  );
}
