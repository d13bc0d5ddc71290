/** What is on the screen as a program: the same request by curl, Python and JavaScript. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { bodyOf, type Namespace } from "../api";
import { Choice, Dialog } from "../ui/parts";
import { copyText } from "../ui/text";
import type { Entry } from "../values/model";

export interface Request {
  readonly action: string;
  readonly place: Partial<Namespace>;
  readonly fields: readonly Entry[];
}

type Language = "curl" | "python" | "javascript" | "raw";

const quotedForShell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The request as a program; the key comes from the environment, so that none is copied. */
export function codeOf({ action, place, fields }: Request, language: Language, server: string): string {
  const url = `${server}data/v1/action/${action}`;
  const body = bodyOf(place, fields, 2);
  switch (language) {
    case "curl":
      return `curl ${quotedForShell(url)} \\\n  -H "apiKey: $KEY" \\\n  -H 'Content-Type: application/json' \\\n  -H 'Accept: application/ejson; mode=relaxed' \\\n  -d ${quotedForShell(body)}\n`;
    case "python":
      return [
        "import os",
        "",
        "import httpx",
        "from bson import json_util  # of PyMongo",
        "",
        `body = r${tripleQuoted(body)}`,
        "answer = httpx.post(",
        `    ${JSON.stringify(url)},`,
        "    content=body,",
        '    headers={"apiKey": os.environ["KEY"], "Accept": "application/ejson"},',
        ")",
        "answer.raise_for_status()",
        "print(json_util.loads(answer.text))",
        "",
      ].join("\n");
    case "javascript":
      return [
        'import { EJSON } from "bson";',
        "",
        `const answer = await fetch(${JSON.stringify(url)}, {`,
        '  method: "POST",',
        '  headers: { apiKey: process.env.KEY, "Content-Type": "application/json", Accept: "application/ejson" },',
        `  body: JSON.stringify(${body.replaceAll("\n", "\n  ")}),`,
        "});",
        "if (!answer.ok) throw new Error(await answer.text());",
        "console.log(EJSON.parse(await answer.text()));",
        "",
      ].join("\n");
    default:
      return `POST /data/v1/action/${action}\nContent-Type: application/json\nAccept: application/ejson; mode=relaxed\n\n${body}\n`;
  }
}

/** A raw string of Python; JSON has no three double quotes in a row but at the end of a string that is empty. */
function tripleQuoted(text: string): string {
  return text.includes("'''") ? `"""${text}"""` : `'''${text}'''`;
}

export function CopyAs({ request, onClose }: { request: Request; onClose: () => void }): JSX.Element {
  const [language, setLanguage] = useState<Language>("curl");
  const server = new URL(".", window.location.href).href;
  const code = codeOf(request, language, server);
  return (
    <Dialog title="As a program" wide onClose={onClose}>
      <div class="stack">
        <Choice
          label="Language"
          value={language}
          options={[["curl", "curl"], ["python", "Python"], ["javascript", "JavaScript"], ["raw", "Request"]]}
          onChange={setLanguage}
        />
        <pre class="program" tabIndex={0} aria-label="Program">
          {code}
        </pre>
        <footer class="dialog-foot">
          <span class="muted small grow">
            It takes the key from the variable <code>KEY</code>.
          </span>
          <button type="button" class="button primary" onClick={() => void copyText(code, "The program")}>
            Copy
          </button>
        </footer>
      </div>
    </Dialog>
  );
}
