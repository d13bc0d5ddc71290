/** A field for code: a plain one at once, and the editor in its place as soon as it is loaded. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Editor, Language } from "./codemirror";

interface Props {
  readonly label: string;
  readonly value: string;
  readonly onChange: (text: string) => void;
  readonly onSubmit?: () => void;
  readonly single?: boolean;
  /** How many lines are in sight, where it has several; many without this. */
  readonly rows?: number;
  readonly language?: Language;
  readonly placeholder?: string;
  readonly readOnly?: boolean;
  readonly fields?: readonly string[];
  readonly focused?: boolean;
  readonly error?: { readonly message: string; readonly from: number; readonly to: number } | null;
}

export function Code(props: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | null>(null);
  const now = useRef(props);
  now.current = props;
  /** What the editor has told and the page has not given back yet; what comes back is no change from outside. */
  const echoes = useRef<string[]>([]);
  const [loaded, setLoaded] = useState(false);
  useEffect(() => {
    let gone = false;
    void import("./codemirror").then(({ createEditor }) => {
      if (gone || !host.current) return;
      const { label, value, single = false, language = "query", placeholder = "", readOnly = false } = now.current;
      editor.current = createEditor(host.current, {
        label, value, single, language, placeholder, readOnly,
        fields: () => now.current.fields ?? [],
        onChange: (text) => {
          echoes.current = text === now.current.value ? [] : [...echoes.current, text];
          now.current.onChange(text);
        },
        // The last letters may have come with this very key: the page is to know them before it goes on.
        onSubmit: () => void window.setTimeout(() => now.current.onSubmit?.()),
      });
      setLoaded(true);
    });
    return () => {
      gone = true;
      editor.current?.destroy();
      editor.current = null;
    };
  }, []);
  useEffect(() => {
    if (loaded && now.current.focused) editor.current?.focus();
  }, [loaded]);
  useEffect(() => {
    const at = echoes.current.lastIndexOf(props.value);
    echoes.current = echoes.current.slice(at + 1);
    if (at < 0) editor.current?.set(props.value);
  }, [props.value, loaded]);
  useEffect(() => editor.current?.fail(props.error ?? null), [props.error, loaded]);
  const height = props.rows === undefined ? {} : { height: `${Math.round(props.rows * 19.5) + 10}px` };
  return (
    <div class={props.single ? "code single" : "code"} data-ready={loaded}>
      <div ref={host} class="code-host" hidden={!loaded} style={height} />
      {!loaded && (
        <textarea
          aria-label={props.label}
          rows={1}
          style={height}
          value={props.value}
          readOnly={props.readOnly ?? false}
          placeholder={props.placeholder ?? ""}
          spellcheck={false}
          onInput={(event) => props.onChange(event.currentTarget.value)}
        />
      )}
    </div>
  );
}
