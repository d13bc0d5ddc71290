/** The sections of the console: what each is called, and what shows it once somebody goes there. */

import type { FunctionComponent } from "preact";
import type { IconName } from "./ui/icons";
import { DataSection } from "./data/section";
import type { PageProps } from "./router";
import type { Session } from "./session";
import { later } from "./ui/later";

export interface Section {
  /** The first part of its addresses. */
  readonly name: string;
  readonly title: string;
  readonly icon: IconName;
  readonly page: FunctionComponent<PageProps>;
  /** Its parts with addresses of their own: the next part of the address, and what it is called. */
  readonly parts?: readonly (readonly [path: string, title: string])[];
  /** Whether it is in the menu of this person; without this it is. */
  readonly listed?: (session: Session) => boolean;
  /** What is there, where it is for those alone who may use the administration. */
  readonly managing?: string;
}

/** The sections in the menu of somebody. */
export const sectionsOf = (session: Session): readonly Section[] =>
  SECTIONS.filter(({ managing, listed }) => (!managing || session.caller.manages) && (!listed || listed(session)));

/** All sections, in the order of the menu; the first is where people begin. */
export const SECTIONS: readonly Section[] = [
  { name: "data", title: "Data", icon: "database", page: DataSection },
  { name: "transfer", title: "Import and export", icon: "transfer", page: later(async () => (await import("./transfer/section")).TransferSection), parts: [["export", "Export"]] },
  { name: "keys", title: "Keys", icon: "key", page: later(async () => (await import("./keys/section")).KeysSection), managing: "Keys" },
  { name: "users", title: "Users", icon: "person", page: later(async () => (await import("./users/section")).UsersSection), managing: "Users", parts: [["waiting", "To be confirmed"]] },
  { name: "workspaces", title: "Workspaces", icon: "stack", page: later(async () => (await import("./workspaces/section")).WorkspacesSection), managing: "Workspaces" },
  { name: "integration", title: "Integration", icon: "link", page: later(async () => (await import("./integration/section")).IntegrationSection), managing: "Credentials of collections" },
  { name: "datacube", title: "DataCube", icon: "database", page: later(async () => (await import("./datacube/section")).DataCubeSection), parts: [["keys", "Keys of mine"]], listed: ({ datacube }) => datacube },
  { name: "rules", title: "Rules", icon: "shield", page: later(async () => (await import("./rules/section")).RulesSection), managing: "Rules", parts: [["check", "Check"], ["why", "Why?"]] },
  { name: "endpoints", title: "Endpoints", icon: "bolt", page: later(async () => (await import("./endpoints/section")).EndpointsSection), managing: "Endpoints" },
  { name: "now", title: "Now", icon: "chart", page: later(async () => (await import("./now/section")).NowSection), managing: "These pages", parts: [["audit", "Audit"], ["settings", "Settings"]] },
  { name: "api", title: "API", icon: "code", page: later(async () => (await import("./reference/section")).ReferenceSection) },
];
