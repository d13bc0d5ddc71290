/** How the database finds what a query asks for, as a picture: the index, what was looked at, and what came of it. */

import type { JSX } from "preact";
import type { Namespace } from "../api";
import { useSession } from "../session";
import { count, plural } from "../ui/format";
import { Dialog, Failure, useLoaded } from "../ui/parts";
import { field, itemsOf, numberOf, type ObjectValue, object, string, textOf, type Value } from "../values/model";
import { write } from "../values/write";

export interface Explained {
  readonly returned: number;
  readonly documents: number;
  readonly keys: number;
  readonly ms: number;
  readonly stages: readonly Stage[];
  readonly raw: Value;
}

interface Stage {
  readonly name: string;
  readonly index: string;
  readonly keys: string;
  readonly depth: number;
}

/** What an answer of `explain` says. */
export function explainedOf(result: Value): Explained {
  const stats = field(result, "executionStats");
  const plan = field(field(result, "queryPlanner"), "winningPlan");
  const stages: Stage[] = [];
  const walk = (stage: Value | undefined, depth: number): void => {
    if (!stage || stage.kind !== "object" || depth > 50) return;
    const inner = field(stage, "queryPlan") ?? stage;
    const keys = field(inner, "keyPattern");
    stages.push({ name: textOf(inner, "stage"), index: textOf(inner, "indexName"), keys: keys ? write(keys) : "", depth });
    walk(field(inner, "inputStage"), depth + 1);
    for (const one of itemsOf(inner, "inputStages")) walk(one, depth + 1);
  };
  walk(plan, 0);
  const number = (name: string): number => numberOf(field(stats, name));
  return {
    returned: number("nReturned"),
    documents: number("totalDocsExamined"),
    keys: number("totalKeysExamined"),
    ms: number("executionTimeMillis"),
    stages: stages.filter(({ name }) => name !== ""),
    raw: result,
  };
}

/** Ask the database about a command. Throws ApiError. */
export async function explain(api: ReturnType<typeof useSession>["api"], place: Namespace, command: ObjectValue, signal?: AbortSignal): Promise<Explained> {
  const asked = object([["explain", command], ["verbosity", string("executionStats")]]);
  const answer = await api.act("runCommand", { source: place.source, database: place.database }, [["command", asked]], signal);
  return explainedOf(field(answer, "result") ?? answer);
}

const WORDS: Record<string, string> = {
  COLLSCAN: "Reads the whole collection",
  IXSCAN: "Walks an index",
  FETCH: "Reads the documents",
  SORT: "Sorts in memory",
  LIMIT: "Stops at the limit",
  SKIP: "Passes over",
  PROJECTION_SIMPLE: "Leaves out fields",
  PROJECTION_DEFAULT: "Makes fields",
  PROJECTION_COVERED: "Answers from the index alone",
  IDHACK: "Finds one _id",
  EXPRESS_IXSCAN: "Finds one key",
  COUNT: "Counts",
  OR: "Unites",
};

export function ExplainDialog({ place, command, onClose }: { place: Namespace; command: ObjectValue; onClose: () => void }): JSX.Element {
  const { api } = useSession();
  const found = useLoaded((signal) => explain(api, place, command, signal), [api, write(command)]);
  return (
    <Dialog title="How the database finds it" wide onClose={onClose}>
      <div class="stack">
        {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
        {found.loading && <div class="waiting" aria-busy="true" />}
        {found.value && <Picture told={found.value} />}
      </div>
    </Dialog>
  );
}

export function Picture({ told }: { told: Explained }): JSX.Element {
  const scans = told.stages.some(({ name }) => name === "COLLSCAN");
  const sorts = told.stages.some(({ name }) => name === "SORT");
  const index = told.stages.find((stage) => stage.index)?.index;
  const most = Math.max(told.keys || 0, told.documents || 0, told.returned || 0, 1);
  return (
    <>
      <p class={scans && told.documents > 100 ? "finding bad" : "finding"}>
        {scans ? "No index helps: every document is looked at." : index ? <>Uses the index <strong class="mono">{index}</strong>.</> : "Found without a search."}
        {sorts && " The order is made in memory, which an index could save."}
      </p>
      <dl class="bars">
        {([["Keys examined", told.keys], ["Documents examined", told.documents], ["Documents returned", told.returned]] as const).map(([name, number]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <span class="measure" style={{ width: `${Math.max(0.5, ((number || 0) / most) * 100)}%` }} />
              <span>{count(number)}</span>
            </dd>
          </div>
        ))}
      </dl>
      <ol class="plan" aria-label="Steps, from the last to the first">
        {told.stages.map((stage, place) => (
          <li key={place} style={{ marginLeft: `${stage.depth * 18}px` }}>
            <strong>{WORDS[stage.name] ?? stage.name}</strong> <span class="muted small mono">{stage.name}</span>
            {stage.index && (
              <span class="mono small">
                {stage.index} {stage.keys}
              </span>
            )}
          </li>
        ))}
      </ol>
      <p class="muted small">It took {plural(told.ms, "millisecond")}.</p>
      <details>
        <summary>All that the database says</summary>
        <pre class="program" tabIndex={0}>
          {write(told.raw, 2)}
        </pre>
      </details>
    </>
  );
}
