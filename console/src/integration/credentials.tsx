/** The credentials of collections: made, rotated, revoked; of all collections or of one. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { link } from "../router";
import { useSession } from "../session";
import { FormDialog, Overlap, SecretDialog, textIn, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Choice, Failure, useLoaded } from "../ui/parts";
import { Snippet } from "../ui/text";
import { tell } from "../ui/toasts";
import { type Credential, CREDENTIALS, credentialPath, credentials, type Language, LANGUAGES, type NewCredentials, program } from "./model";

interface Shown {
  readonly id: string;
  readonly secrets: readonly (readonly [kind: "read" | "write", text: string])[];
}

type Doing = { readonly what: "make" } | { readonly what: "rotate" | "revoke"; readonly one: Credential } | null;

const made = ({ collection_id: id, read_credential: read, write_credential: write }: NewCredentials): Shown => ({
  id,
  secrets: [...(read ? [["read", read] as const] : []), ...(write ? [["write", write] as const] : [])],
});

export function Credentials({ place }: { place: Namespace | null }): JSX.Element {
  const { api } = useSession();
  const [doing, setDoing] = useState<Doing>(null);
  const [shown, setShown] = useState<Shown | null>(null);
  const found = useLoaded((signal) => credentials(api, place, signal), [api, place, shown]);
  const show = (next: Shown): void => {
    setDoing(null);
    setShown(next);
  };
  return (
    <section>
      <div class="row">
        <h2 class="grow">Credentials in a URL</h2>
        <button type="button" class="button" onClick={() => setDoing({ what: "make" })}>
          <Icon name="plus" /> Make credentials
        </button>
      </div>
      <p class="muted small">
        Whoever has the URL has the credential: one that reads and one that writes a single collection, where no rules judge it. For scripts,
        spreadsheets and pages that can send no header.
      </p>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.length === 0 && <p class="muted">There are none.</p>}
      {found.value !== undefined && found.value.length > 0 && <CredentialList listed={found.value} named={place === null} onDo={setDoing} />}
      {doing?.what === "make" && <Make place={place} onClose={() => setDoing(null)} onDone={(next) => show(made(next))} />}
      {doing?.what === "rotate" && (
        <FormDialog
          title={`Rotate the ${doing.one.kind} credential`}
          verb="Rotate it"
          onClose={() => setDoing(null)}
          onSubmit={async (given) => {
            const body = JSON.stringify({ overlap_seconds: Number(given.get("overlap")) });
            const { credential } = await api.json<{ credential: string }>(`${credentialPath(doing.one.id)}/rotate`, { body });
            show({ id: doing.one.collection_id, secrets: [[doing.one.kind, credential]] });
          }}
        >
          <Overlap />
        </FormDialog>
      )}
      {doing?.what === "revoke" && (
        <TypedConfirm
          title={`Revoke the ${doing.one.kind} credential`}
          name={doing.one.collection}
          verb="Revoke it"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.send(`${credentialPath(doing.one.id)}/revoke`, { method: "POST" });
            tell({ text: `The ${doing.one.kind} credential was revoked.` });
            setDoing(null);
            found.again();
          }}
        >
          <p>Whoever has its URL is let in no more, and it cannot be brought back.</p>
        </TypedConfirm>
      )}
      {shown && <NewDialog shown={shown} onClose={() => setShown(null)} />}
    </section>
  );
}

function CredentialList({ listed, named, onDo }: { listed: readonly Credential[]; named: boolean; onDo: (doing: Doing) => void }): JSX.Element {
  const about = (one: Credential): string => `${one.kind} credential of ${one.collection}, made ${one.created}`;
  return (
    <List label="Credentials" heads={[...(named ? ["Collection"] : []), "For", "State", "Last used", "Ends", "Made", "-Actions"]}>
      {listed.map((one) => (
        <tr key={one.id}>
          {named && (
            <th scope="row">
              <a href={link(["data", one.data_source, one.database, one.collection, "integration"])}>
                <bdi class="wrap">
                  {one.database}.{one.collection}
                </bdi>
              </a>
            </th>
          )}
          <td>{one.kind === "read" ? "reading" : "writing"}</td>
          <td>
            <span class={one.state === "active" ? "badge good" : "badge bad"}>{one.state === "active" ? "in force" : one.state}</span>
          </td>
          <td>
            <Moment at={one.last_used} never="never" />
          </td>
          <td>
            <Moment at={one.expires} never="never" />
          </td>
          <td>
            <Moment at={one.created} />
          </td>
          <td class="number">
            {one.state === "active" && (
              <>
                <button type="button" class="button small" aria-label={`Rotate ${about(one)}`} onClick={() => onDo({ what: "rotate", one })}>
                  Rotate
                </button>{" "}
                <button type="button" class="button small" aria-label={`Revoke ${about(one)}`} onClick={() => onDo({ what: "revoke", one })}>
                  Revoke
                </button>
              </>
            )}
          </td>
        </tr>
      ))}
    </List>
  );
}

function Make({ place, onClose, onDone }: { place: Namespace | null; onClose: () => void; onDone: (made: NewCredentials) => void }): JSX.Element {
  const { api, sources } = useSession();
  const make = async (given: FormData): Promise<void> => {
    const of = (name: string): string | undefined => textIn(given, name) || undefined;
    const expires = of("expires");
    const addresses = of("addresses")?.split(",").map((one) => one.trim());
    const body = {
      database: place?.database ?? of("database"),
      collection: place?.collection ?? of("collection"),
      data_source: place?.source ?? of("source"),
      kind: of("kind"),
      expires: expires && new Date(expires).toISOString(),
      rate: of("rate"),
      addresses,
    };
    onDone(await api.json<NewCredentials>(CREDENTIALS, { body: JSON.stringify(body) }));
  };
  const text = (name: string, label: string, placeholder = "", required = false): JSX.Element => (
    <label class="field">
      <span>{label}</span>
      <input name={name} type="text" autocomplete="off" spellcheck={false} placeholder={placeholder} required={required} />
    </label>
  );
  return (
    <FormDialog title="Make credentials" verb="Make them" onClose={onClose} onSubmit={make}>
      {place === null && text("database", "Database", "shop", true)}
      {place === null && text("collection", "Collection", "movies", true)}
      {place === null && sources.length > 1 && (
        <label class="field">
          <span>Data source</span>
          <select name="source">
            {sources.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <label class="field">
        <span>For</span>
        <select name="kind">
          <option value="">reading and writing: one each</option>
          <option value="read">reading</option>
          <option value="write">writing</option>
        </select>
      </label>
      <label class="field">
        <span>Ends</span>
        <input name="expires" type="datetime-local" />
      </label>
      {text("rate", "Rate", "20/second;5000/hour")}
      {text("addresses", "Addresses", "192.0.2.7, 10.0.0.0/8")}
    </FormDialog>
  );
}

function NewDialog({ shown, onClose }: { shown: Shown; onClose: () => void }): JSX.Element {
  const [language, setLanguage] = useState<Language>("curl");
  return (
    <SecretDialog title="The credentials" secrets={shown.secrets} onClose={onClose}>
      <p>
        The collection's id is <code class="wrap">{shown.id}</code>.
      </p>
      <Choice label="Language" value={language} options={LANGUAGES.map((name) => [name, name] as const)} onChange={setLanguage} />
      {shown.secrets.map(([kind, text]) => (
        <Snippet key={kind} label={`${language}, ${kind === "read" ? "reading" : "writing"}`} text={program(language, kind, text, shown.id)} />
      ))}
    </SecretDialog>
  );
}
