/** Ready requests for a key. */

import type { JSX } from "preact";
import { Choice } from "../ui/parts";
import { Snippet } from "../ui/text";
import { useState } from "preact/hooks";

const KINDS = ["curl", "Python", "JavaScript"] as const;

/** The same request in several languages; `key` is put in where it is known. */
function written(kind: (typeof KINDS)[number], key: string, database: string, collection: string): string {
  const base = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const body = `{"database": "${database}", "collection": "${collection}", "filter": {}, "limit": 10}`;
  switch (kind) {
    case "curl":
      return `curl ${base}/action/find \\\n  -H 'apiKey: ${key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
    case "Python":
      return `import json, urllib.request\n\nrequest = urllib.request.Request(\n    "${base}/action/find",\n    json.dumps(${body}).encode(),\n    {"apiKey": "${key}", "Content-Type": "application/json"},\n)\nprint(json.load(urllib.request.urlopen(request))["documents"])`;
    case "JavaScript":
      return `const answer = await fetch("${base}/action/find", {\n  method: "POST",\n  headers: { apiKey: "${key}", "Content-Type": "application/json" },\n  body: JSON.stringify(${body}),\n});\nconsole.log((await answer.json()).documents);`;
  }
}

export function Snippets(props: { secret?: string; database?: string | undefined; collection?: string | undefined }): JSX.Element {
  const [kind, setKind] = useState<(typeof KINDS)[number]>("curl");
  const { secret = "dl_…", database = "shop", collection = "orders" } = props;
  return (
    <div class="stack">
      <Choice label="Language" value={kind} options={KINDS.map((name) => [name, name] as const)} onChange={setKind} />
      <Snippet label={`${kind} request`} text={written(kind, secret, database, collection)} />
    </div>
  );
}
