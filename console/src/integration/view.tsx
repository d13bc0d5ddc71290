/** How programs reach a collection: ready requests, and credentials of its own. */

import type { JSX } from "preact";
import type { Namespace } from "../api";
import { Snippets } from "../keys/snippets";
import { link } from "../router";
import { useSession } from "../session";
import { Credentials } from "./credentials";

export function IntegrationView({ place }: { place: Namespace }): JSX.Element {
  const { caller } = useSession();
  return (
    <div class="panel">
      <section>
        <h2>With a key</h2>
        <p class="muted small">
          Put a key where the dots are.{" "}
          {caller.manages && (
            <>
              <a href={link(["keys"])}>Make one</a> for each program that calls.{" "}
            </>
          )}
          <a href={link(["api", "find"])}>Try it</a> with your own rights.
        </p>
        <Snippets database={place.database} collection={place.collection} />
      </section>
      {caller.manages && <Credentials place={place} />}
    </div>
  );
}
