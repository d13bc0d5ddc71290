/** The sessions of a user or a key. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useSession } from "../session";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Failure, useLoaded } from "../ui/parts";
import { tell } from "../ui/toasts";
import { userPath, type UserSession } from "./model";

export function SessionList({ of: id }: { of: string }): JSX.Element {
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  const path = `${userPath(id)}/sessions`;
  const found = useLoaded(async (signal) => (await api.json<{ sessions: readonly UserSession[] }>(path, { signal })).sessions, [api, id]);
  const end = async (ended: string, text: string): Promise<void> => {
    try {
      await api.send(ended, { method: "DELETE" });
      tell({ text });
      found.again();
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <section>
      <div class="row">
        <h2 class="grow">Sessions</h2>
        {found.value !== undefined && found.value.length > 1 && (
          <button type="button" class="button small" onClick={() => void end(path, "All sessions have ended.")}>
            End all
          </button>
        )}
      </div>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {error !== null && <Failure error={error} />}
      {found.value?.length === 0 && <p class="muted">Nobody is signed in.</p>}
      {found.value !== undefined && found.value.length > 0 && (
        <List label="Sessions" heads={["Began", "Ends", "By", "Device", "-Actions"]}>
          {found.value.map((session) => (
            <tr key={session.id}>
              <td>
                <Moment at={session.created} />
              </td>
              <td>
                <Moment at={session.expires} />
              </td>
              <td>{session.provider}</td>
              <td>{deviceOf(session)}</td>
              <td class="number">
                <button
                  type="button"
                  class="button small"
                  onClick={() => void end(`api/admin/v1/sessions/${encodeURIComponent(session.id)}`, "The session has ended.")}
                >
                  End
                </button>
              </td>
            </tr>
          ))}
        </List>
      )}
    </section>
  );
}

const deviceOf = ({ device }: UserSession): string =>
  Object.entries(device ?? {})
    .filter(([name]) => name !== "deviceId")
    .map(([, value]) => value)
    .join(" ");
