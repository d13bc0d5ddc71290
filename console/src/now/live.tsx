/** The numbers of the server as they come, and what is known of single requests. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { link } from "../router";
import { useSession } from "../session";
import { count, size } from "../ui/format";
import { List } from "../ui/list";
import { useLive } from "../ui/live";
import { Moment, msOf } from "../ui/moment";
import { Failure, useTitle } from "../ui/parts";
import { Chart } from "./chart";
import { type Caller, duration, type Here, KEPT, type Line, perSecond, type Sample } from "./model";

const rate = (value: number): string => `${count(Math.round(value * 100) / 100)}/s`;
const share = (value: number): string => `${count(Math.round(value * 100))} %`;

export function Live(): JSX.Element {
  useTitle("Now");
  const { api } = useSession();
  const [on, setOn] = useState(true);
  const [samples, setSamples] = useState<readonly Sample[]>([]);
  const [here, setHere] = useState<Here | null>(null);
  const { error } = useLive(api, "api/admin/v1/now", on, ({ kind, data }) => {
    if (kind === "now") setHere(JSON.parse(data) as Here);
    if (kind !== "sample") return;
    const sample = JSON.parse(data) as Sample;
    // Another process may answer after a break, and count from its own beginning.
    setSamples((before) => [...before.filter(({ time }) => time < sample.time), sample].slice(-KEPT));
  });
  const last = samples.at(-1);
  return (
    <div class="panel whole">
      <div class="row">
        <button type="button" class="button" aria-pressed={!on} onClick={() => setOn(!on)}>
          {on ? "Pause" : "Go on"}
        </button>
        <span class="muted small">
          {on ? "Of the last five minutes, as far as somebody looked" : "Paused"}
          {here && here.workers > 1 && `; numbers of all ${here.workers} workers, requests of process ${here.process}`}
        </span>
      </div>
      {error !== null && <Failure error={error} />}
      {here && <Tiles here={here} last={last} />}
      {!last && error === null && <p class="muted">The first numbers come in two seconds …</p>}
      {last && <Charts samples={samples} />}
      {here && last && <Tables here={here} last={last} />}
    </div>
  );
}

function Tiles({ here, last }: { here: Here; last: Sample | undefined }): JSX.Element {
  const { health } = here;
  const tiles: [title: string, value: ComponentChildren, note: string][] = [
    ["Database", <span class={health.status === "ready" ? "good" : health.status === "unknown" ? "muted" : "wrong"}>{health.status}</span>, health.note || health.mongodb || ""],
  ];
  if (last)
    tiles.push(
      ["Requests", rate(last.per_second), `${count(last.in_flight)} in flight`],
      ["95 of 100 within", duration(last.latency.p95), `half of them within ${duration(last.latency.p50)}`],
      ["Errors", rate(perSecond(last.errors, last)), `${rate(perSecond(last.refused, last))} refused`],
      ["Streams", count(last.streams), "change streams and events that are open"],
      ["Processor", share(last.cpu), `${count(last.open_files)} open files`],
      ["Memory", size(last.memory_bytes), ""],
    );
  return (
    <dl class="tiles">
      {tiles.map(([title, value, note]) => (
        <div key={title}>
          <dt>{title}</dt>
          <dd class="big">{value}</dd>
          <dd class="muted small">{note}</dd>
        </div>
      ))}
      {last && (
        <div>
          <dt>Runs since</dt>
          <dd>
            <Moment at={last.started} />
          </dd>
          <dd class="muted small">{here.workers === 1 ? "one process" : `${here.workers} processes`}</dd>
        </div>
      )}
    </dl>
  );
}

function Charts({ samples }: { samples: readonly Sample[] }): JSX.Element {
  const times = samples.map(({ time }) => msOf(time) / 1000);
  const of = (name: "p50" | "p95" | "p99"): (number | null)[] => samples.map(({ latency }) => latency[name]);
  return (
    <div class="charts">
      <Chart
        title="Requests"
        times={times}
        format={rate}
        least={1}
        series={[
          { label: "all", colour: "--accent", values: samples.map((sample) => sample.per_second) },
          { label: "refused", colour: "--warn", values: samples.map((sample) => perSecond(sample.refused, sample)) },
          { label: "errors", colour: "--bad", values: samples.map((sample) => perSecond(sample.errors, sample)) },
        ]}
      />
      <Chart
        title="Time to answer"
        times={times}
        format={duration}
        least={0.001}
        series={[
          { label: "50 %", colour: "--accent", values: of("p50") },
          { label: "95 %", colour: "--warn", values: of("p95") },
          { label: "99 %", colour: "--bad", values: of("p99") },
        ]}
      />
      <Chart title="Processor" times={times} format={share} least={0.05} series={[{ label: "all processes", colour: "--accent", values: samples.map(({ cpu }) => cpu) }]} />
      <Chart title="Memory" times={times} format={size} least={1e6} series={[{ label: "all processes", colour: "--accent", values: samples.map(({ memory_bytes: bytes }) => bytes) }]} />
    </div>
  );
}

function Tables({ here, last }: { here: Here; last: Sample }): JSX.Element {
  return (
    <>
      <Block title="Busiest callers of the last minute" heads={["Caller", "Requests", "Refused", "Failed", "Time"]} none="Nobody called.">
        {here.callers.map((one) => (
          <tr key={one.caller}>
            <th scope="row">
              <Who {...one} />
            </th>
            <td class="number">{count(one.requests)}</td>
            <td class="number">{count(one.refused)}</td>
            <td class="number">{count(one.failed)}</td>
            <td class="number">{duration(one.seconds)}</td>
          </tr>
        ))}
      </Block>
      <Block title="Slow answers (100 ms and more)" heads={["When", "Action", "Where", "Took", "Status", "Caller"]} none="All answers were quick.">
        {here.slow.map((line) => (
          <Row key={line.time + line.action} line={line} took />
        ))}
      </Block>
      <Block title="Refused" heads={["When", "Action", "Where", "Why", "Status", "Caller"]} none="Nobody was refused.">
        {here.refused.map((line) => (
          <Row key={line.time + line.action + line.code} line={line} />
        ))}
      </Block>
      <Block title="Operations of the database, in the last two seconds" heads={["Operation", "Count", "Failed", "Mean"]} none="None.">
        {last.operations.map((one) => (
          <tr key={one.operation}>
            <th scope="row">{one.operation}</th>
            <td class="number">{count(one.count)}</td>
            <td class="number">{count(one.failed)}</td>
            <td class="number">{duration(one.mean_seconds)}</td>
          </tr>
        ))}
      </Block>
      <Block title="Connections and processes of data sources" heads={["Data source", "What", "Number"]} none="There are none.">
        {last.pools.map((one) => (
          <tr key={`${one.data_source} ${one.what}`}>
            <th scope="row">{one.data_source}</th>
            <td>{one.what}</td>
            <td class="number">{count(one.number)}</td>
          </tr>
        ))}
      </Block>
    </>
  );
}

const NUMBERS = new Set(["Requests", "Refused", "Failed", "Time", "Took", "Count", "Mean", "Number", "Status"]);

function Block(props: { title: string; heads: readonly string[]; none: string; children: readonly JSX.Element[] }): JSX.Element {
  return (
    <section>
      <h2>{props.title}</h2>
      {props.children.length === 0 ? (
        <p class="muted">{props.none}</p>
      ) : (
        <List label={props.title} heads={props.heads.map((head) => (NUMBERS.has(head) ? `#${head}` : head))}>{props.children}
        </List>
      )}
    </section>
  );
}

function Row({ line, took = false }: { line: Line; took?: boolean }): JSX.Element {
  return (
    <tr>
      <td>
        <Moment at={line.time} />
      </td>
      <th scope="row">{line.action}</th>
      <td>
        <bdi class="wrap">{line.namespace}</bdi>
      </td>
      <td class={took ? "number" : ""}>{took ? duration(line.seconds) : line.code}</td>
      <td class="number">{line.status}</td>
      <td>
        <Who {...line} /> <span class="muted small">{line.address}</span>
      </td>
    </tr>
  );
}

/** A caller: a key by its name, a user by the id. */
function Who({ caller, name }: Pick<Caller, "caller" | "name">): JSX.Element {
  if (!caller) return <span class="muted">nobody known</span>;
  return name ? <a href={link(["keys", name])}>{name}</a> : <a href={link(["users", caller])}>{caller}</a>;
}
