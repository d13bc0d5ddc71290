/** Small pictures, drawn in the colour of the text beside them. */

import type { JSX } from "preact";

const PATHS = {
  door: "M3.5 14V3l6-1.5V14.5zM9.5 3h3v10.5h-3M7.5 8v1",
  database: "M2.5 4c0-1.1 2.5-2 5.5-2s5.5.9 5.5 2-2.5 2-5.5 2-5.5-.9-5.5-2zM2.5 4v8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2V4M2.5 8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2",
  collection: "M2.5 3.5h11M2.5 8h11M2.5 12.5h11",
  view: "M1.5 8s2.5-4.5 6.5-4.5S14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 100-4 2 2 0 000 4z",
  server: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  chevron: "M6 3.5 10.5 8 6 12.5",
  up: "M3.5 10 8 5.5 12.5 10",
  down: "M3.5 6 8 10.5 12.5 6",
  search: "M7 12A5 5 0 107 2a5 5 0 000 10zM10.8 10.8 14 14",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3 8.5 6.5 12 13 4.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  edit: "M10.5 3 13 5.5 5.5 13H3v-2.5zM9 4.5 11.5 7",
  trash: "M2.5 4h11M6 4V2.5h4V4M4 4l.7 9.5h6.6L12 4M6.7 6.5v4.5M9.3 6.5v4.5",
  refresh: "M13 8a5 5 0 11-1.5-3.6L13.5 6.5M13.5 3v3.5H10",
  code: "M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5",
  clock: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 4.5V8l2.5 1.5",
  star: "M8 2l1.8 3.8 4.2.6-3 2.9.7 4.2L8 11.5l-3.7 2 .7-4.2-3-2.9 4.2-.6z",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  tree: "M3 3h4M5 3v10M5 7.5h4M5 13h4M11 7.5h2M11 13h2",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.6h11M6.5 3v10",
  braces: "M6 2.5c-2 0-2 1-2 2.5s0 2.5-1.5 3C4 8.500 4 9.500 4 11s0 2.500 2 2.500M10 2.500c2 0 2 1 2 2.500s0 2.500 1.500 3C12 8.500 12 9.500 12 11s0 2.500-2 2.500",
  bolt: "M9 1.500 3.500 9H8l-1 5.500L12.500 7H8z",
  chart: "M2.500 13.500h11M4.500 11V7.500M8 11V3.500M11.500 11V6",
  stack: "M8 2 14 5 8 8 2 5zM2 8l6 3 6-3M2 11l6 3 6-3",
  more: "M3.500 8h.01M8 8h.01M12.500 8h.01",
  person: "M8 8a2.800 2.800 0 100-5.600A2.800 2.800 0 008 8zM2.800 14c.4-3 2.500-4.300 5.200-4.300s4.800 1.300 5.200 4.300",
  out: "M6 2.500H3v11h3M7 8h7M11 5l3 3-3 3",
  warn: "M8 2 14.500 13.500h-13zM8 6.500v3M8 11.500v.01",
  menu: "M2.500 4h11M2.500 8h11M2.500 12h11",
  undo: "M5.500 3 2.500 6l3 3M2.500 6H9a4 4 0 010 8H6",
  eye: "M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8z",
  help: "M8 14A6 6 0 108 2a6 6 0 000 12zM6.300 6.300a1.700 1.700 0 113 1.200c-.8.6-1.300.9-1.300 1.800M8 11.300v.01",
  key: "M9.500 9.500a3.800 3.800 0 10-3-3L2 11v3h3v-2h2v-2zM11 5h.01",
  shield: "M8 1.500 13.500 3.500V8c0 3-2.200 5.300-5.500 6.500C4.700 13.300 2.500 11 2.500 8V3.500zM5.500 8l2 2 3.500-3.800",
  link: "M6.5 9.5 9.5 6.5M7 4.500 8.500 3a3 3 0 014.300 4.300L11.300 8.800M9 11.500 7.500 13A3 3 0 013.200 8.700L4.700 7.200",
  import: "M8 2.5v8M4.500 7 8 10.500 11.500 7M2.500 13.500h11",
  export: "M8 10.500v-8M4.500 6 8 2.500 11.500 6M2.500 13.500h11",
  transfer: "M5 13.500V3M2 6l3-3 3 3M11 2.500V13M8 10l3 3 3-3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of Doorleaf. */
export function Mark({ size = 24 }: { size?: number }): JSX.Element {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" class="mark-ground" />
      <path d="M9 25V7l9-2v22z" class="mark-leaf" />
      <path d="M18 7h5v18h-5" class="mark-frame" />
      <circle cx="15.2" cy="16.5" r="1.3" class="mark-ground" />
    </svg>
  );
}
