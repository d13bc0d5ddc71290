/** A chart of what was measured, up from 0 to `least` or more; the last numbers are in words for those who do not see it. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

export interface Series {
  readonly label: string;
  /** The name of a colour of the styles, such as `--accent`. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

const HEIGHT = 150;
const SHOWN_SECONDS = 300;
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export function Chart(props: { title: string; times: readonly number[]; series: readonly Series[]; format: (value: number) => string; least: number }): JSX.Element {
  const { title, times, series, format, least } = props;
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot | null>(null);
  const data = [times, ...series.map(({ values }) => values)] as unknown as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const draw = (): void => {
      drawn.current?.destroy();
      drawn.current = new uPlot(optionsOf(element, series, format, least), latest.current, element);
    };
    draw();
    const scheme = window.matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(() => drawn.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    scheme.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", draw);
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, []);
  useEffect(() => drawn.current?.setData(data), [data]);
  const last = (values: readonly (number | null)[]): string => {
    const value = values.findLast((one) => one !== null);
    return value === null || value === undefined ? "–" : format(value);
  };
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        {series.map(({ label, colour, values }) => (
          <span key={label} class={`legend ${colour.slice(2)}`}>
            {label} {last(values)}
          </span>
        ))}
      </figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
    </figure>
  );
}

function optionsOf(element: HTMLElement, series: readonly Series[], format: (value: number) => string, least: number): uPlot.Options {
  const styles = getComputedStyle(element);
  const colour = (name: string): string => styles.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      // Of a single time uPlot makes an hour.
      x: { range: ({ data }, _, last) => [(data[0].at(-1) ?? last) - SHOWN_SECONDS, data[0].at(-1) ?? last] },
      y: { range: (_, __, most) => [0, Math.max(most ?? 0, least) * 1.1] },
    },
    axes: [{ ...axis, space: 90, values: (_, splits) => splits.map((at) => CLOCK.format(at * 1000)) }, { ...axis, size: 64, values: (_, splits) => splits.map(format) }],
    series: [{}, ...series.map((one) => ({ stroke: colour(one.colour), width: 1.5, points: { show: false }, spanGaps: true }))],
  };
}
