/** Documents one below the other, as JSON or as trees. What is out of sight costs the browser nothing. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { apply } from "../edit/changes";
import { EditScalar, isPlainValue } from "../edit/scalar";
import { keyOf } from "../query/pages";
import { Icon } from "../ui/icons";
import { IconButton } from "../ui/parts";
import { plural } from "../ui/format";
import { children, isNested, type ObjectValue, TYPE_NAMES, type Value } from "../values/model";
import { jsonLines, Shown } from "./display";

export interface CardsProps {
  readonly rows: readonly ObjectValue[];
  readonly as: "json" | "tree";
  readonly selected: ReadonlySet<string>;
  readonly onSelect: (document: ObjectValue, on: boolean) => void;
  readonly onOpen: (document: ObjectValue) => void;
  readonly onClone: (document: ObjectValue) => void;
  readonly onCopy: (document: ObjectValue) => void;
  readonly onDelete: (document: ObjectValue) => void;
  readonly onWanted: (document: ObjectValue, wanted: ObjectValue) => void;
  readonly onEnd: () => void;
}

/** How many documents are made at once: all of a thousand would keep the page from answering. */
const AT_ONCE = 8;

export function Cards(props: CardsProps): JSX.Element {
  const end = useRef<HTMLDivElement>(null);
  const [made, setMade] = useState(AT_ONCE);
  const { rows, onEnd } = props;
  useEffect(() => {
    const reached = (): void => (made < rows.length ? setMade(made + AT_ONCE) : onEnd());
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && reached(), { rootMargin: "600px" });
    if (end.current) observer.observe(end.current);
    return () => observer.disconnect();
  }, [rows.length, onEnd, made]);
  return (
    <div class="cards" role="region" aria-label="Documents" tabIndex={0}>
      {rows.slice(0, made).map((document, index) => (
        <Card key={keyOf(document)} document={document} index={index} props={props} />
      ))}
      <div ref={end} />
    </div>
  );
}

function Card({ document, index, props }: { document: ObjectValue; index: number; props: CardsProps }): JSX.Element {
  const name = `document ${index + 1}`;
  return (
    <article class="doc" aria-label={`Document ${index + 1}`}>
      <div class="doc-bar">
        <input
          type="checkbox"
          aria-label={`Select ${name}`}
          checked={props.selected.has(keyOf(document))}
          onChange={(event) => props.onSelect(document, event.currentTarget.checked)}
        />
        <span class="doc-acts">
          <IconButton icon="edit" label={`Edit ${name}`} onClick={() => props.onOpen(document)} />
          <IconButton icon="copy" label={`Copy ${name}`} onClick={() => props.onCopy(document)} />
          <IconButton icon="plus" label={`Clone ${name}`} onClick={() => props.onClone(document)} />
          <IconButton icon="trash" label={`Delete ${name}`} onClick={() => props.onDelete(document)} />
        </span>
      </div>
      {props.as === "json" ? <Json document={document} /> : <Tree document={document} onWanted={(wanted) => props.onWanted(document, wanted)} />}
    </article>
  );
}

function Json({ document }: { document: ObjectValue }): JSX.Element {
  const [whole, setWhole] = useState(false);
  const { lines, cut } = useMemo(() => jsonLines(document, whole ? 200_000 : undefined), [document, whole]);
  return (
    <div class="json">
      {lines}
      {cut && !whole && (
        <button type="button" class="button small" onClick={() => setWhole(true)}>
          Show all of it
        </button>
      )}
    </div>
  );
}

const CHILDREN = 100;

/** A document as a tree, whose branches are made when they are opened. */
export function Tree({ document, onWanted }: { document: ObjectValue; onWanted?: (wanted: ObjectValue) => void }): JSX.Element {
  const change = onWanted && ((path: readonly string[], value: Value): void => onWanted(apply(document, [{ path, before: undefined, after: value }]) as ObjectValue));
  return (
    <ul class="tree">
      {document.entries.map(([name, value]) => (
        <Node key={name} name={name} value={value} path={[name]} change={change} />
      ))}
    </ul>
  );
}

interface NodeProps {
  readonly name: string;
  readonly value: Value;
  readonly path: readonly string[];
  readonly change: ((path: readonly string[], value: Value) => void) | undefined;
}

function Node({ name, value, path, change }: NodeProps): JSX.Element {
  const [open, setOpen] = useState(false);
  const [most, setMost] = useState(CHILDREN);
  const [editing, setEditing] = useState(false);
  const inside = isNested(value) && open ? children(value) : [];
  const editable = change !== undefined && isPlainValue(value) && !(path.length === 1 && name === "_id");
  return (
    <li>
      <div class="tree-row">
        {isNested(value) ? (
          <button type="button" class={open ? "twist open" : "twist"} aria-expanded={open} aria-label={`Inside ${name}`} onClick={() => setOpen(!open)}>
            <Icon name="chevron" size={12} />
          </button>
        ) : (
          <span class="twist" />
        )}
        <bdi class="tree-name">{name === "" ? "(no name)" : name}</bdi>
        {editing ? (
          <EditScalar
            value={value}
            label={name}
            onDone={(made) => {
              setEditing(false);
              if (made) change?.(path, made);
            }}
          />
        ) : (
          <span class="tree-value" onDblClick={() => editable && setEditing(true)}>
            <Shown value={value} />
          </span>
        )}
        {!editing && <span class="tree-type">{TYPE_NAMES[value.kind]}</span>}
        {editable && !editing && <IconButton icon="edit" label={`Edit ${name}`} onClick={() => setEditing(true)} />}
      </div>
      {inside.length > 0 && (
        <ul>
          {inside.slice(0, most).map(([key, child]) => (
            <Node key={key} name={key} value={child} path={[...path, key]} change={change} />
          ))}
          {inside.length > most && (
            <li>
              <button type="button" class="button small" onClick={() => setMost(most * 4)}>
                {plural(inside.length - most, "more", "more")}
              </button>
            </li>
          )}
        </ul>
      )}
    </li>
  );
}
