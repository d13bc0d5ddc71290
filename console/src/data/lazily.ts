/** What is asked for only once somebody sees it, and not all at the same time. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

const AT_ONCE = 4;
let running = 0;
const waiting: (() => void)[] = [];

/** What `work` answers, with a few others at most running beside it. */
export async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** Whether the element that is marked has been in sight. */
export function useSeen<E extends Element>(): { seen: boolean; mark: (element: E | null) => void } {
  const [seen, setSeen] = useState(false);
  const observer = useRef<IntersectionObserver | null>(null);
  const mark = useCallback((element: E | null): void => {
    observer.current?.disconnect();
    if (!element) return;
    observer.current = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        setSeen(true);
        observer.current?.disconnect();
      }
    });
    observer.current.observe(element);
  }, []);
  useEffect(() => () => observer.current?.disconnect(), []);
  return { seen, mark };
}
