/** Server-sent events, read with the person's own access token, which the browser's EventSource could not send. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, isAborted } from "../api";

export interface ServerEvent {
  readonly kind: string;
  readonly data: string;
}

/** The events of an answer, until it ends. */
async function* events(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (reader) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n");
      const of = (name: string): string[] => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = of("data");
      if (data.length) yield { kind: of("event")[0] ?? "message", data: data.join("\n") };
    }
  }
}

const AGAIN_MS = 2000;

/**
 * Hear the events of `path` while the page is shown and `on`; begins again when the stream ends. The answer is what went
 * wrong, if something did, and whether it is heard.
 */
export function useLive(api: Api, path: string, on: boolean, hear: (event: ServerEvent) => void): { error: unknown; heard: boolean } {
  const [state, setState] = useState<{ error: unknown; heard: boolean }>({ error: null, heard: false });
  const listener = useRef(hear);
  listener.current = hear;
  useEffect(() => {
    if (!on) return;
    const stop = new AbortController();
    void listen(api, path, stop.signal, (event) => listener.current(event), setState);
    return () => {
      stop.abort();
      setState((before) => ({ ...before, heard: false }));
    };
  }, [api, path, on]);
  return state;
}

async function listen(
  api: Api,
  path: string,
  signal: AbortSignal,
  hear: (event: ServerEvent) => void,
  tell: (state: { error: unknown; heard: boolean }) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const response = await api.send(path, { accept: "text/event-stream", signal });
      tell({ error: null, heard: true });
      // What the server says when the token is over is no failure: the next request has another one.
      for await (const event of events(response)) if (event.kind !== "error") hear(event);
    } catch (error) {
      if (signal.aborted || isAborted(error)) return;
      tell({ error, heard: false });
    }
    await new Promise((resolve) => window.setTimeout(resolve, AGAIN_MS));
  }
}
