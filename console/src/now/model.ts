/** What the server tells of itself, about every two seconds. */

export interface Sample {
  readonly number: number;
  readonly time: string;
  readonly seconds: number;
  readonly requests: number;
  readonly per_second: number;
  readonly errors: number;
  readonly refused: number;
  readonly latency: Readonly<Record<"p50" | "p95" | "p99", number | null>>;
  readonly actions: readonly { readonly action: string; readonly requests: number; readonly mean_seconds: number }[];
  readonly operations: readonly { readonly operation: string; readonly count: number; readonly failed: number; readonly mean_seconds: number }[];
  readonly refusals: readonly { readonly status: number; readonly code: string; readonly count: number }[];
  readonly in_flight: number;
  readonly streams: number;
  readonly pools: readonly { readonly data_source: string; readonly what: string; readonly number: number }[];
  readonly memory_bytes: number;
  readonly cpu: number;
  readonly open_files: number;
  readonly started: string;
}

export interface Line {
  readonly time: string;
  readonly action: string;
  readonly namespace: string;
  readonly status: number;
  readonly code: string;
  readonly seconds: number;
  readonly caller: string;
  readonly name: string;
  readonly address: string;
}

export interface Caller {
  readonly caller: string;
  readonly name: string;
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  readonly seconds: number;
}

export interface Here {
  readonly health: { readonly status: string; readonly note: string; readonly mongodb?: string };
  readonly workers: number;
  readonly process: number;
  readonly callers: readonly Caller[];
  readonly slow: readonly Line[];
  readonly refused: readonly Line[];
}

export const KEPT = 150;

const SHORT = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

/** A duration as people read it. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${SHORT.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${SHORT.format(seconds * 1000)} ms` : `${SHORT.format(seconds)} s`;
}

/** Several samples as rates and shares: what charts and tiles show. */
export const perSecond = (number: number, { seconds }: Sample): number => (seconds > 0 ? number / seconds : 0);
