/** Reads the parts of a query: Extended JSON as it is, everything else as the shell would. */

import { type ObjectValue, type Value, object } from "../values/model";
import { read, TextError } from "../values/read";
import type { Part } from "./shell";

/** The object that `text` is; an empty text is an empty object. Throws TextError. */
export async function parse(text: string, part: Part): Promise<ObjectValue> {
  if (text.trim() === "") return object([]);
  const value = await parseAny(text, part);
  if (value.kind !== "object") throw new TextError("Expected an object: {…}", 0, text.length);
  return value;
}

/** The value that `text` is. Throws TextError. */
export async function parseAny(text: string, part: Part = "any"): Promise<Value> {
  let inJson: unknown;
  try {
    return read(text);
  } catch (error) {
    inJson = error;
  }
  const { readShell } = await import("./shell");
  try {
    return readShell(text, part);
  } catch (error) {
    // Who writes names in double quotes means Extended JSON, and is told what is wrong with that.
    throw /^\s*[{[]\s*"/.test(text) ? inJson : error;
  }
}
