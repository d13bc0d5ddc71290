/** What the documents of a collection have in common, by a sample of them. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { QueryBar } from "../query/bar";
import { readQuery, textsOf } from "../query/query";
import { go, link } from "../router";
import { useSession } from "../session";
import { count, plural } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Dialog, Empty, Failure, useLoaded } from "../ui/parts";
import { QueryError } from "../query/query";
import { copyText } from "../ui/text";
import { type FieldTold, sampleSize, type SchemaTold, type TypeTold } from "./analyze";

const percent = (share: number): string => (share >= 0.9995 || share === 0 ? `${Math.round(share * 100)} %` : share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`);

/** A type that so few values have may be a mistake. */
const RARE = 0.02;

export function SchemaView({ place, query }: { place: Namespace; query: URLSearchParams }): JSX.Element {
  const { api } = useSession();
  const texts = textsOf(query);
  const [shown, setShown] = useState(false);
  const found = useLoaded(async (signal): Promise<SchemaTold> => {
    const { filter } = await readQuery(texts);
    const { analyze } = await import("./analyze");
    return analyze(api, place, filter, signal);
  }, [api, place, texts.filter]);
  const told = found.value;
  return (
    <>
      <QueryBar
        parts={["filter"]}
        texts={texts}
        fields={told?.fields.map(({ path }) => path) ?? []}
        error={found.error}
        past={[]}
        onRun={({ filter }) => (filter === texts.filter ? found.again() : go(link(["data", place.source, place.database, place.collection, "schema"], { filter })))}
      />
      <div class="toolbar">
        <span class="muted small" role="status">
          {told ? `A random sample of ${plural(told.sampled, "document")}${told.sampled < sampleSize(api) ? ", which is all that match" : ""}: shares are of these.` : "Looking at a sample …"}
        </span>
        <span class="grow" />
        <button type="button" class="button" disabled={!told} onClick={() => setShown(true)}>
          <Icon name="braces" /> JSON Schema
        </button>
      </div>
      {found.error !== undefined && !(found.error instanceof QueryError) && <Failure error={found.error} retry={found.again} />}
      {told?.sampled === 0 && (
        <Empty title="Nothing to look at" icon="chart">
          <p>No document matches. Fields, types and values show here once there are some.</p>
        </Empty>
      )}
      {told && told.sampled > 0 && (
        <List label="Fields" heads={["Field", "There in", "Types", "Values"]} kind="schema" place="rest">
          {told.fields.map((one) => (
            <Row key={one.path} one={one} />
          ))}
        </List>
      )}
      {shown && told && (
        <Dialog title="JSON Schema of the sample" wide onClose={() => setShown(false)}>
          <div class="stack">
            <p class="muted">A validator for <code>createCollection</code>, to begin with: it allows what the sample has.</p>
            <pre class="program" tabIndex={0} aria-label="JSON Schema">{told.jsonSchema}</pre>
            <footer class="dialog-foot">
              <button type="button" class="button primary" onClick={() => void copyText(told.jsonSchema, "The schema")}>Copy</button>
            </footer>
          </div>
        </Dialog>
      )}
    </>
  );
}

function Row({ one }: { one: FieldTold }): JSX.Element {
  const name = one.path.split(".").at(-1) ?? "";
  return (
    <tr>
      <th scope="row" title={one.path}>
        <bdi class="mono wrap" style={{ paddingLeft: `${one.depth * 16}px` }}>{name === "" ? "(no name)" : name}</bdi>
      </th>
      <td>
        <span class="share" aria-hidden="true"><span style={{ width: `${one.present * 100}%` }} /></span> {percent(one.present)}
      </td>
      <td>
        {one.types.map((type) => (
          <div key={type.name}>
            {type.name} {one.types.length > 1 && <span class={type.share < RARE ? "warned small" : "muted small"}>{percent(type.share)}{type.share < RARE && ", rare"}</span>}
          </div>
        ))}
      </td>
      <td class="small wrap">
        {one.types.map((type) => (
          <Values key={type.name} type={type} />
        ))}
      </td>
    </tr>
  );
}

function Values({ type }: { type: TypeTold }): JSX.Element | null {
  const { frequent, range, distinct, outliers } = type;
  if (frequent.length === 0 && !range) return distinct > 1 ? <div class="muted">{count(distinct)} different</div> : null;
  return (
    <div class="frequent">
      {frequent.map(([text, share]) => (
        <span key={text} class="key">
          <bdi class="clip">{text.slice(0, 60) || "(empty)"}</bdi> <span class="muted">{Math.round(share * 100)} %</span>
        </span>
      ))}
      {range && <span class="muted">{range}</span>}
      {outliers.length > 0 && (
        <span class="warned">
          far from the others: <bdi>{outliers.map((text) => text.slice(0, 40)).join(", ")}</bdi>
        </span>
      )}
    </div>
  );
}
