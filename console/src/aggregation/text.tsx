/** A pipeline as one text: pasted from elsewhere, or taken along. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Code } from "../edit/code";
import { parseAny } from "../query/parse";
import { FormDialog } from "../ui/form";
import { write } from "../values/write";
import { type Stage, stage } from "./model";

/** The text of a pipeline; of the stages those that are on. */
const joined = (stages: readonly Stage[]): string => stages.length === 0 ? "[]" : `[\n${stages.filter(({ on }) => on).map(({ operator, text }) => `  { ${operator}: ${text} }`).join(",\n")}\n]`;

/** The stages that a text has. Throws Error, or TextError, for what is no pipeline. */
async function stagesIn(text: string): Promise<readonly Stage[]> {
  const pipeline = await parseAny(text);
  if (pipeline.kind !== "array") throw new Error("A pipeline is an array of stages: [{ $match: … }, …]");
  return pipeline.items.map((one, index) => {
    const [entry, more] = one.kind === "object" ? one.entries : [];
    if (!entry?.[0].startsWith("$") || more) throw new Error(`Stage ${index + 1} is no object with one operator: { $match: … }`);
    return stage(entry[0], write(entry[1], 2));
  });
}

export function PipelineText({ stages, onDone, onClose }: { stages: readonly Stage[]; onDone: (stages: readonly Stage[]) => void; onClose: () => void }): JSX.Element {
  const [text, setText] = useState(() => joined(stages));
  return (
    <FormDialog title="Pipeline as text" verb="Use it" wide onClose={onClose} onSubmit={async () => onDone(await stagesIn(text))}>
      <Code label="Pipeline as text" rows={16} value={text} onChange={setText} />
      <p class="muted small">As in the shell or as Extended JSON. It takes the place of all stages; those that are switched off are not in it.</p>
    </FormDialog>
  );
}
