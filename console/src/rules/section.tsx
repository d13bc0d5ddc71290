/** Rules: who may do what, whether others would be right, and why a request is allowed or refused. */

import type { JSX } from "preact";
import { link, type PageProps } from "../router";
import { Page, PageHead } from "../ui/page";
import { Check } from "./check";
import { Table } from "./table";
import { Why } from "./why";

export function RulesSection({ path, query }: PageProps): JSX.Element {
  const [part = ""] = path;
  const tabs = [
    ["", "Who may what"],
    ["check", "Check"],
    ["why", "Why?"],
  ].map(([name = "", title = ""]) => ({ href: link(name ? ["rules", name] : ["rules"]), title, chosen: part === name }));
  return (
    <Page>
      <PageHead title="Rules" icon="shield" tabs={tabs} />
      {part === "check" ? <Check query={query} /> : part === "why" ? <Why query={query} /> : <Table query={query} />}
    </Page>
  );
}
