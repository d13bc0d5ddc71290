/** What happens on the server now, what was audited, and the settings in effect. */

import type { JSX } from "preact";
import { link, type PageProps } from "../router";
import { Page, PageHead } from "../ui/page";
import { Audit } from "./audit";
import { Live } from "./live";
import { Settings } from "./settings";

const PARTS = { "": "Live", audit: "Audit", settings: "Settings" } as const;

export function NowSection({ path, query }: PageProps): JSX.Element {
  const [part = ""] = path;
  const tabs = Object.entries(PARTS).map(([name, title]) => ({ href: link(name ? ["now", name] : ["now"]), title, chosen: part === name }));
  return (
    <Page>
      <PageHead title="Now" icon="chart" tabs={tabs} />
      {part === "audit" ? <Audit query={query} /> : part === "settings" ? <Settings query={query} /> : <Live />}
    </Page>
  );
}
