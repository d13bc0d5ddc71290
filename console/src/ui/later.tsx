/** Sections whose programs come when somebody goes there, so that the first view stays light. */

import type { FunctionComponent, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { PageProps } from "../router";
import { Page as Content } from "./page";
import { Failure } from "./parts";

/** A page that `load` brings. */
export function later(load: () => Promise<FunctionComponent<PageProps>>): FunctionComponent<PageProps> {
  let known: FunctionComponent<PageProps> | null = null;
  return function Later(props: PageProps): JSX.Element {
    const [, again] = useState(0);
    const [error, setError] = useState<unknown>(null);
    useEffect(() => {
      if (known) return;
      load().then((page) => {
        known = page;
        again((before) => before + 1);
      }, setError);
    }, []);
    if (known) {
      const Page = known;
      return <Page {...props} />;
    }
    return (
      <Content busy={error === null}>{error !== null && <Failure error={error} retry={() => window.location.reload()} />}</Content>
    );
  };
}
