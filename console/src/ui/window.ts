/** Long lists of rows of one height, of which only those near what is in sight are made. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

const BEYOND = 20;
/** Shorter lists are made whole. */
const FEW = 120;

export interface Window<E extends Element> {
  readonly from: number;
  readonly to: number;
  /** Whether all are made. */
  readonly whole: boolean;
  /** The element that has the rows, which begins with the first. */
  readonly mark: { current: E | null };
}

/** Which of `count` rows, each `height` pixels high, are to be made. */
export function useWindow<E extends Element>(count: number, height: number): Window<E> {
  const mark = useRef<E | null>(null);
  const [from, setFrom] = useState(0);
  const seen = Math.ceil(window.innerHeight / height) + 2 * BEYOND;
  const short = count <= FEW;
  useLayoutEffect(() => {
    if (short) return undefined;
    const look = (): void => {
      const top = mark.current?.getBoundingClientRect().top ?? 0;
      // In steps, so that not every pixel makes the list anew.
      setFrom(Math.max(0, Math.floor(-top / height / BEYOND) * BEYOND - BEYOND));
    };
    look();
    // What scrolls is somewhere around the list, and its events do not bubble.
    document.addEventListener("scroll", look, { capture: true, passive: true });
    window.addEventListener("resize", look);
    return () => {
      document.removeEventListener("scroll", look, { capture: true });
      window.removeEventListener("resize", look);
    };
  }, [short, height, count]);
  if (short) return { from: 0, to: count, whole: true, mark };
  const begin = Math.min(from, Math.max(0, count - seen));
  return { from: begin, to: Math.min(count, begin + seen + BEYOND), whole: false, mark };
}
