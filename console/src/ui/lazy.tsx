/** A part of a page that is loaded when somebody goes there. */

import type { FunctionComponent, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Failure } from "./parts";

export function lazy<P extends object>(load: () => Promise<FunctionComponent<P>>): FunctionComponent<P> {
  let loaded: FunctionComponent<P> | null = null;
  return function Lazy(props: P): JSX.Element {
    const [, again] = useState(0);
    const [error, setError] = useState<unknown>(null);
    useEffect(() => {
      if (loaded) return;
      load().then(
        (component) => {
          loaded = component;
          again((before) => before + 1);
        },
        () => setError(new Error("A part of this page cannot be loaded. The server may be another by now: load the page again.")),
      );
    }, []);
    if (error !== null) return <Failure error={error} retry={() => window.location.reload()} />;
    const Component = loaded;
    return Component ? <Component {...props} /> : <div class="waiting" aria-busy="true" />;
  };
}
