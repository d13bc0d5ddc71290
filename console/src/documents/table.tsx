/** Documents as a table: a row for each, of which only those in sight exist, and a column for each field. */

import { Component, type JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { EditScalar, isPlainValue } from "../edit/scalar";
import { keyOf } from "../query/pages";
import { Icon } from "../ui/icons";
import { field, type ObjectValue, type Value } from "../values/model";
import { Shown, brief } from "./display";

const ROW = 30;
const BEYOND = 12;
const LOOKED_AT = 40;

export interface TableProps {
  readonly rows: readonly ObjectValue[];
  readonly columns: readonly string[];
  readonly sort: ObjectValue | null;
  readonly selected: ReadonlySet<string>;
  readonly label: string;
  /** How wide the person made columns, in pixels. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly onSize: (column: string, width: number) => void;
  readonly onSort: (column: string) => void;
  readonly onSelect: (document: ObjectValue, on: boolean) => void;
  readonly onSelectAll: (on: boolean) => void;
  readonly onOpen: (document: ObjectValue) => void;
  readonly onChange: (document: ObjectValue, column: string, value: Value) => void;
  readonly onEnd: () => void;
}

/** The fields of documents, in the order in which they come. */
export function columnsOf(rows: readonly ObjectValue[]): string[] {
  const names = new Set<string>();
  for (const row of rows) for (const [name] of row.entries) names.add(name);
  return [...names];
}

/** How wide each column is: as wide as what is in it, within bounds. */
function widthsOf(columns: readonly string[], rows: readonly ObjectValue[]): number[] {
  return columns.map((column) => {
    const longest = rows.slice(0, LOOKED_AT).reduce((most, row) => {
      const value = field(row, column);
      return Math.max(most, value ? Math.min(brief(value).length, 48) : 0);
    }, column.length + 3);
    return Math.min(340, Math.max(72, Math.round(longest * 7.6) + 24));
  });
}

export function Table(props: TableProps): JSX.Element {
  const { rows, columns, onEnd } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const [active, setActive] = useState({ row: 0, column: 0 });
  const [editing, setEditing] = useState(false);
  const acts = useRef<Acts | null>(null);
  const found = useMemo(() => widthsOf(columns, rows.slice(0, LOOKED_AT)), [columns, rows.length > 0]);
  const widths = columns.map((column, index) => props.sizes.get(column) ?? found[index] ?? 120);
  const look = (): void => {
    const element = scroller.current;
    if (element) setView({ top: element.scrollTop, height: element.clientHeight });
  };
  useLayoutEffect(look, [rows.length]);
  useEffect(() => setEditing(false), [rows[0]]);
  useEffect(() => {
    const observer = new ResizeObserver(look);
    if (scroller.current) observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  const from = Math.max(0, Math.floor(view.top / ROW) - BEYOND);
  const to = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + BEYOND);
  useEffect(() => {
    if (to >= rows.length - BEYOND) onEnd();
  }, [to, rows.length]);

  const move = (row: number, column: number): void => {
    const next = { row: Math.min(rows.length - 1, Math.max(0, row)), column: Math.min(columns.length - 1, Math.max(0, column)) };
    setActive(next);
    const element = scroller.current;
    if (!element) return;
    const top = next.row * ROW;
    if (top < element.scrollTop) element.scrollTop = top;
    if (top + ROW * 3 > element.scrollTop + element.clientHeight) element.scrollTop = top + ROW * 3 - element.clientHeight;
    element.querySelector(`#cell-${next.row}-${next.column}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const edit = (row: number, column: number): void => {
    const document = rows[row];
    const name = columns[column];
    if (!document || name === undefined) return;
    const value = field(document, name);
    setActive({ row, column });
    if (value && name !== "_id" && isPlainValue(value)) setEditing(true);
    else props.onOpen(document);
  };
  const keys = (event: KeyboardEvent): void => {
    if (event.target !== scroller.current) return;
    const { row, column } = active;
    const page = Math.max(1, Math.floor(view.height / ROW) - 2);
    const moves: Record<string, () => void> = {
      ArrowDown: () => move(row + 1, column),
      ArrowUp: () => move(row - 1, column),
      ArrowRight: () => move(row, column + 1),
      ArrowLeft: () => move(row, column - 1),
      PageDown: () => move(row + page, column),
      PageUp: () => move(row - page, column),
      Home: () => move(0, column),
      End: () => move(rows.length - 1, column),
      Enter: () => edit(row, column),
      " ": () => {
        const document = rows[row];
        if (document) props.onSelect(document, !props.selected.has(keyOf(document)));
      },
    };
    const act = moves[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  acts.current = {
    select: props.onSelect,
    open: props.onOpen,
    edit,
    activate: (row, column) => {
      setEditing(false);
      setActive({ row, column });
    },
    done: (document, value) => {
      setEditing(false);
      scroller.current?.focus();
      const column = columns[active.column];
      if (value && column !== undefined) props.onChange(document, column, value);
    },
  };
  const all = rows.length > 0 && rows.every((row) => props.selected.has(keyOf(row)));
  const total = widths.reduce((sum, width) => sum + width, 76);
  return (
    <div
      class="grid-scroll"
      ref={scroller}
      role="region"
      aria-label={`${props.label}: arrow keys move, Enter edits, Space selects`}
      tabIndex={0}
      onScroll={look}
      onKeyDown={keys}
    >
      <table class="grid" aria-rowcount={rows.length + 1} style={{ width: `${total}px` }}>
        <colgroup>
          <col style={{ width: "76px" }} />
          {columns.map((column, index) => (
            <col key={column} style={{ width: `${widths[index] ?? 120}px` }} />
          ))}
        </colgroup>
        <thead>
          <tr>
            <th scope="col" class="grid-select">
              <input type="checkbox" aria-label="Select all that are loaded" checked={all} onChange={(event) => props.onSelectAll(event.currentTarget.checked)} />
            </th>
            {columns.map((column, index) => (
              <Head key={column} column={column} width={widths[index] ?? 120} sort={props.sort} onSort={props.onSort} onSize={props.onSize} />
            ))}
          </tr>
        </thead>
        <tbody>
          {from > 0 && <tr class="grid-space" style={{ height: `${from * ROW}px` }} aria-hidden="true" />}
          {rows.slice(from, to).map((document, offset) => (
            <Row
              key={keyOf(document)}
              document={document}
              index={from + offset}
              columns={columns}
              selected={props.selected.has(keyOf(document))}
              active={active.row === from + offset ? active.column : -1}
              editing={editing && active.row === from + offset}
              acts={acts}
            />
          ))}
          {to < rows.length && <tr class="grid-space" style={{ height: `${(rows.length - to) * ROW}px` }} aria-hidden="true" />}
        </tbody>
      </table>
    </div>
  );
}

function Head(props: { column: string; width: number; sort: ObjectValue | null; onSort: (column: string) => void; onSize: (column: string, width: number) => void }): JSX.Element {
  const { column, sort, onSort } = props;
  const direction = sort && field(sort, column);
  const number = direction && "text" in direction ? Number(direction.text) : 0;
  return (
    <th scope="col" aria-sort={number > 0 ? "ascending" : number < 0 ? "descending" : "none"}>
      <button type="button" title="Sort by this field" onClick={() => onSort(column)}>
        <bdi class="clip">{column === "" ? "(no name)" : column}</bdi>
        {number !== 0 && <span class={number > 0 ? "up" : "down"}><Icon name="down" size={11} /></span>}
      </button>
      <Edge name={column} width={props.width} onSize={(width) => props.onSize(column, width)} />
    </th>
  );
}

const NARROW = 48;
const WIDE = 1200;
const STEP = 16;

/** The edge of a column, which is dragged, or moved by the arrow keys. */
function Edge({ name, width, onSize }: { name: string; width: number; onSize: (width: number) => void }): JSX.Element {
  const began = useRef<{ x: number; width: number } | null>(null);
  const size = (wanted: number): void => onSize(Math.round(Math.min(WIDE, Math.max(NARROW, wanted))));
  const keys = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? STEP : event.key === "ArrowLeft" ? -STEP : 0;
    if (step === 0) return;
    event.preventDefault();
    size(width + step);
  };
  return (
    <span
      class="grid-edge"
      role="separator"
      aria-orientation="vertical"
      aria-label={`Width of ${name}`}
      aria-valuenow={width}
      aria-valuemin={NARROW}
      aria-valuemax={WIDE}
      tabIndex={0}
      onKeyDown={keys}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        began.current = { x: event.clientX, width };
      }}
      onPointerMove={(event) => began.current && size(began.current.width + event.clientX - began.current.x)}
      onPointerUp={() => (began.current = null)}
    />
  );
}

/** What is done with a row; who it is done by is another each time, so that rows ask for it only then. */
interface Acts {
  readonly select: (document: ObjectValue, on: boolean) => void;
  readonly open: (document: ObjectValue) => void;
  readonly edit: (row: number, column: number) => void;
  readonly activate: (row: number, column: number) => void;
  readonly done: (document: ObjectValue, value: Value | null) => void;
}

interface RowProps {
  readonly document: ObjectValue;
  readonly index: number;
  readonly columns: readonly string[];
  readonly selected: boolean;
  readonly active: number;
  readonly editing: boolean;
  readonly acts: { readonly current: Acts | null };
}

/** A row, which is made anew only where something about it is another. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return (Object.keys(next) as (keyof RowProps)[]).some((name) => next[name] !== this.props[name]);
  }

  override render(): JSX.Element {
    return <Cells {...this.props} />;
  }
}

function Cells(props: RowProps): JSX.Element {
  const { document, index, columns, acts } = props;
  return (
    <tr class={props.selected ? "selected" : ""} aria-rowindex={index + 2}>
      <td class="grid-select">
        <input
          type="checkbox"
          aria-label={`Select document ${index + 1}`}
          checked={props.selected}
          onChange={(event) => acts.current?.select(document, event.currentTarget.checked)}
        />
        <button type="button" class="icon-button" aria-label={`Open document ${index + 1}`} title="Open" onClick={() => acts.current?.open(document)}>
          <Icon name="edit" size={14} />
        </button>
      </td>
      {columns.map((column, place) => {
        const value = field(document, column);
        const here = props.active === place;
        return (
          <td
            key={column}
            id={`cell-${index}-${place}`}
            class={here ? "active" : ""}
            onClick={() => here || acts.current?.activate(index, place)}
            onDblClick={() => acts.current?.edit(index, place)}
          >
            {here && props.editing && value ? <EditScalar value={value} label={column} onDone={(made) => acts.current?.done(document, made)} /> : value ? <Shown value={value} /> : null}
          </td>
        );
      })}
    </tr>
  );
}
