/** A collection: its documents and what else there is to know about it. */

import type { FunctionComponent, JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { Namespace } from "../api";
import { link } from "../router";
import { Icon, type IconName } from "../ui/icons";
import { lazy } from "../ui/lazy";
import { useTitle } from "../ui/parts";

interface Props {
  readonly place: Namespace;
  readonly view: string;
  readonly query: URLSearchParams;
  readonly changed: () => void;
}

interface ViewProps {
  readonly place: Namespace;
  readonly query: URLSearchParams;
}

/** The ways to look at a collection, each loaded when somebody does. */
const VIEWS: readonly (readonly [name: string, title: string, icon: IconName, view: FunctionComponent<ViewProps>])[] = [
  ["documents", "Documents", "table", lazy(async () => (await import("../documents/view")).DocumentsView)],
  ["aggregation", "Aggregation", "stack", lazy(async () => (await import("../aggregation/view")).AggregationView)],
  ["schema", "Schema", "chart", lazy(async () => (await import("../schema/view")).SchemaView)],
  ["indexes", "Indexes", "bolt", lazy(async () => (await import("../indexes/view")).IndexesView)],
  ["integration", "Integration", "link", lazy(async () => (await import("../integration/view")).IntegrationView)],
];

export function CollectionPage(props: Props): JSX.Element {
  const { source, database, collection } = props.place;
  const place = useMemo(() => ({ source, database, collection }), [source, database, collection]);
  useTitle(`${database}.${collection}`);
  const [chosen, , , View] = VIEWS.find(([name]) => name === props.view) ?? VIEWS[0]!;
  return (
    <>
      <header class="page-head">
        <h1>
          <a class="muted" href={link(["data", source, database])}>
            <bdi>{database}</bdi>
          </a>
          <span class="muted" aria-hidden="true">
            /
          </span>
          <bdi class="wrap">{collection}</bdi>
        </h1>
        <nav class="views" aria-label="Views of the collection">
          {VIEWS.map(([name, title, icon]) => (
            <a key={name} href={link(["data", source, database, collection, ...(name === "documents" ? [] : [name])])} aria-current={name === chosen ? "page" : undefined}>
              <Icon name={icon} /> {title}
            </a>
          ))}
        </nav>
      </header>
      <View place={place} query={props.query} />
    </>
  );
}
