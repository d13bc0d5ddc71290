/** A request to an endpoint, sent as the person. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { link } from "../router";
import { useSession } from "../session";
import { Failure, useTitle } from "../ui/parts";
import { PageHead } from "../ui/page";
import { TextField } from "../ui/text";
import { Reply, type Tried, tryIt } from "../ui/trial";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

export function TryEndpoint({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Try an endpoint");
  const { api } = useSession();
  const [method, setMethod] = useState(query.get("method") ?? "GET");
  const [route, setRoute] = useState(query.get("route") ?? "/");
  const [body, setBody] = useState("");
  const [tried, setTried] = useState<Tried | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setTried(null);
    try {
      setTried(await tryIt(api, method, `endpoint${route.startsWith("/") ? route : `/${route}`}`, method === "GET" ? null : body));
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <PageHead title="Try an endpoint" icon="bolt" tabs={[{ href: link(["endpoints"]), title: "All endpoints", chosen: false }]} />
      <div class="panel">
        <form class="stack" onSubmit={(event) => void send(event)}>
          <div class="pair">
            <label class="field">
              <span>Method</span>
              <select value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
                {METHODS.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
            <label class="field">
              <span>Route, with its query</span>
              <input type="text" class="mono" required spellcheck={false} autocomplete="off" value={route} onInput={(event) => setRoute(event.currentTarget.value)} />
            </label>
          </div>
          {method !== "GET" && <TextField label="Body" value={body} onChange={setBody} rows={6} />}
          <div class="row">
            <button type="submit" class="button primary" disabled={busy}>
              Send
            </button>
            <span class="muted small">It is carried out, as you.</span>
          </div>
        </form>
        {error !== null && <Failure error={error} />}
        {tried && <Reply tried={tried} />}
      </div>
    </>
  );
}
