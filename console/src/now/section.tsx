/** What happens on the server now, what was audited, and the settings in effect. */

import type { JSX } from "preact";
import type { PageProps } from "../pages";
import { link } from "../router";
import { useSession } from "../session";
import { ForAdministrators, PageHead } from "../ui/tabs";
import { Audit } from "./audit";
import { Live } from "./live";
import { Settings } from "./settings";

const PARTS = { "": "Live", audit: "Audit", settings: "Settings" } as const;

export function NowSection({ path, query }: PageProps): JSX.Element {
  const { caller } = useSession();
  const [part = ""] = path;
  if (!caller.manages) return <ForAdministrators what="These pages" />;
  const tabs = Object.entries(PARTS).map(([name, title]) => ({ href: link(name ? ["now", name] : ["now"]), title, chosen: part === name }));
  return (
    <main id="content" tabIndex={-1} class="page">
      <PageHead title="Now" icon="chart" tabs={tabs} />
      {part === "audit" ? <Audit query={query} /> : part === "settings" ? <Settings query={query} /> : <Live />}
    </main>
  );
}
