/** The credentials of all collections. */

import type { JSX } from "preact";
import { Page, PageHead } from "../ui/page";
import { useTitle } from "../ui/parts";
import { Credentials } from "./credentials";

export function IntegrationSection(): JSX.Element {
  useTitle("Integration");
  return (
    <Page>
      <PageHead title="Integration" icon="link" />
      <div class="panel whole">
        <Credentials place={null} />
      </div>
    </Page>
  );
}
