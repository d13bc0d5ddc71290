/** Numbers, sizes and times as people read them. */

const COUNT = new Intl.NumberFormat(undefined);
const SIZE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export const count = (number: number): string => (Number.isFinite(number) ? COUNT.format(number) : "–");

export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`;

/** A number of bytes. */
export function size(bytes: number): string {
  if (!Number.isFinite(bytes)) return "–";
  let unit = 0;
  let left = bytes;
  while (left >= 1000 && unit < UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${SIZE.format(left)} ${UNITS[unit] ?? ""}`;
}

const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A time in the person's own zone. */
export const localTime = (ms: number): string => (Number.isNaN(new Date(ms).getTime()) ? `${ms} ms` : LOCAL.format(ms));
