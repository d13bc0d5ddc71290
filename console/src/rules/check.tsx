/** Rules as JSON: read, changed, and judged while they are typed. They are files, so that nothing here changes them. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, link } from "../router";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { Failure, useLoaded, useTitle } from "../ui/parts";
import { mistakeIn, TextField } from "../ui/text";
import { read } from "../values/read";
import { changesOf } from "../edit/changes";
import { Changes } from "../edit/dialog";
import { NULL, object, type Value } from "../values/model";
import { listed, placeOf, pretty, RULES, type Rules } from "./model";

const EXAMPLE = pretty({ roles: [{ name: "owner", apply_when: {}, document_filters: { read: { owner: "%%user.id" }, write: { owner: "%%user.id" } }, read: true, write: true }] });
const WAIT_MS = 400;

const keyOf = (one: Rules): string => `${one.data_source} ${placeOf(one)}`;

interface Checked {
  readonly valid: boolean;
  readonly problem: string | null;
  readonly roles: readonly string[];
}

export function Check({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Check rules");
  const { api } = useSession();
  const found = useLoaded((signal) => listed(api, signal), [api]);
  const at = query.get("at") ?? "";
  const [rules, setRules] = useState(EXAMPLE);
  const [schema, setSchema] = useState("");
  useEffect(() => {
    const chosen = found.value?.find((one) => keyOf(one) === at);
    if (!chosen) return;
    setRules(pretty(chosen.rules));
    setSchema(chosen.json_schema === null ? "" : pretty(chosen.json_schema));
  }, [found.value, at]);
  const wrong = mistakeIn(rules, read);
  const wrongSchema = schema.trim() === "" ? null : mistakeIn(schema, read);
  const chosen = found.value?.find((one) => keyOf(one) === at);
  const told = useChecked(rules, schema, wrong === null && wrongSchema === null);
  return (
    <div class="panel">
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      <label class="field">
        <span>Begin with the rules of</span>
        <select value={at} onChange={(event) => go(link(["rules", "check"], { at: event.currentTarget.value }), true)}>
          <option value="">an example</option>
          {found.value?.map((one) => (
            <option key={keyOf(one)} value={keyOf(one)}>
              {keyOf(one)}
            </option>
          ))}
        </select>
      </label>
      <TextField label="Rules" value={rules} onChange={setRules} wrong={wrong} rows={20} />
      <TextField label="Schema" value={schema} onChange={setSchema} wrong={wrongSchema} rows={6} placeholder='{"bsonType": "object", "required": ["owner"]}' />
      <div role="status">
        {told.error !== null && <Failure error={told.error} />}
        {told.value?.valid && (
          <p class="good">
            <Icon name="check" /> The server takes them. {told.value.roles.length ? `Roles: ${told.value.roles.join(", ")}.` : "There are no roles in them."}
          </p>
        )}
        {told.value?.problem && (
          <p class="wrong">
            <Icon name="warn" /> {told.value.problem}
          </p>
        )}
      </div>
      {chosen && wrong === null && wrongSchema === null && <Different from={chosen} rules={rules} schema={schema} />}
      <p class="muted small">
        Nothing is put into effect here: rules are in files. {chosen && <Where of={chosen} />} The server reads them when it starts, and when it is sent <code>SIGHUP</code>.
      </p>
    </div>
  );
}

/** What is different from the rules in effect. */
function Different({ from, rules, schema }: { from: Rules; rules: string; schema: string }): JSX.Element {
  const whole = (rules: string, schema: string): Value => object([["rules", read(rules)], ["schema", schema.trim() ? read(schema) : NULL]]);
  const before = whole(pretty(from.rules), from.json_schema === null ? "" : pretty(from.json_schema));
  return (
    <section>
      <h2>Different from those in effect</h2>
      <Changes changes={changesOf(before, whole(rules, schema))} />
    </section>
  );
}

/** Where rules are written, in the folder of an app and in the settings file. */
function Where({ of: { data_source, database, collection } }: { of: Rules }): JSX.Element {
  const [file, table] = database === null ? ["default_rule.json", "default"] : [`${database}/${collection}/rules.json`, `${database}.${collection}`];
  return (
    <>
      These are <code class="wrap">{`data_sources/${data_source}/${file}`}</code> in the folder that <code>rules_dir</code> names, or{" "}
      <code class="wrap">{`rules.${data_source}.${JSON.stringify(table)}`}</code> in the settings file.
    </>
  );
}

/** What the server says of rules, a moment after the last change. */
function useChecked(rules: string, schema: string, asks: boolean): { value: Checked | null; error: unknown } {
  const { api } = useSession();
  const [told, setTold] = useState<{ value: Checked | null; error: unknown }>({ value: null, error: null });
  useEffect(() => {
    setTold({ value: null, error: null });
    if (!asks) return;
    const stop = new AbortController();
    const body = `{"rules": ${rules}, "json_schema": ${schema.trim() || "null"}}`;
    const timer = window.setTimeout(() => {
      api.json<Checked>(`${RULES}/check`, { body, signal: stop.signal }).then(
        (value) => setTold({ value, error: null }),
        (error: unknown) => stop.signal.aborted || setTold({ value: null, error }),
      );
    }, WAIT_MS);
    return () => {
      window.clearTimeout(timer);
      stop.abort();
    };
  }, [api, rules, schema, asks]);
  return told;
}
