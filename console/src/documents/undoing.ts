/** Changes to all documents that match, which can be taken back while what they were is known: up to a bound. */

import type { Api, Namespace } from "../api";
import { changesOf, updateOf } from "../edit/changes";
import { documentsOf } from "../query/lines";
import { keyOf } from "../query/pages";
import { array, bool, type Entry, field, int, itemsOf, NULL, numberOf, type ObjectValue, object, type Value } from "../values/model";
import { write } from "../values/write";

/** How many documents are remembered to be put back. */
export const REMEMBERED = 1000;
const AT_ONCE = 200;
const AT_ONCE_CHARACTERS = 4_000_000;

/** How many characters of them, as JSON. */
const MOST_CHARACTERS = 100_000_000;

/** The documents that match, whole; null where they are too many, or too large, to be remembered. */
export async function remembered(api: Api, place: Namespace, query: readonly Entry[]): Promise<readonly ObjectValue[] | null> {
  const found: ObjectValue[] = [];
  let size = 0;
  for await (const some of documentsOf(api, place, [...query, ["limit", int(REMEMBERED + 1)]])) {
    found.push(...some);
    for (const one of some) size += write(one).length;
    if (found.length > REMEMBERED || size > MOST_CHARACTERS || some.some((one) => !field(one, "_id"))) return null;
  }
  return found;
}

/** The filter of what matches and is among `documents`, so that nothing is touched that is not remembered. */
export function among(filter: ObjectValue, documents: readonly ObjectValue[]): ObjectValue {
  return object([["$and", array([filter, byIds(documents)])]]);
}

/** The filter of documents by their ids. */
export const byIds = (documents: readonly ObjectValue[]): ObjectValue =>
  object([["_id", object([["$in", array(documents.map((one) => field(one, "_id") ?? NULL))]])]]);

/** Put documents back that were deleted; how many are there again. */
export async function putBack(api: Api, place: Namespace, documents: readonly ObjectValue[]): Promise<number> {
  let count = 0;
  for (const some of batches(documents)) {
    const answer = await api.act("insertMany", place, [["documents", array(some)], ["ordered", bool(false)]]);
    count += itemsOf(answer, "insertedIds").length;
  }
  return count;
}

/** `values` in parts that one request takes, however large each is. */
function* batches<T extends Value>(values: readonly T[]): Generator<readonly T[]> {
  let some: T[] = [];
  let size = 0;
  for (const one of values) {
    const more = write(one).length;
    if (some.length === AT_ONCE || (some.length > 0 && size + more > AT_ONCE_CHARACTERS)) {
      yield some;
      [some, size] = [[], 0];
    }
    some.push(one);
    size += more;
  }
  if (some.length > 0) yield some;
}

/** What documents are now that were changed, beside what they were. */
export async function changedOnes(api: Api, place: Namespace, before: readonly ObjectValue[]): Promise<readonly (readonly [was: ObjectValue, is: ObjectValue])[]> {
  const now = new Map<string, ObjectValue>();
  for await (const some of documentsOf(api, place, [["filter", among(object([]), before)]])) for (const one of some) now.set(keyOf(one), one);
  return before.flatMap((was) => {
    const is = now.get(keyOf(was));
    return is && changesOf(was, is).length > 0 ? [[was, is] as const] : [];
  });
}

/** Make documents what they were, where nobody has changed them since; how many are. */
export async function changeBack(api: Api, place: Namespace, changed: readonly (readonly [was: ObjectValue, is: ObjectValue])[]): Promise<number> {
  let count = 0;
  for (const operations of batches(changed.map(([was, is]) => object([["updateOne", object([...updateOf(is, was)] as Entry[])]])))) {
    const answer = await api.act("bulkWrite", place, [["operations", array(operations)], ["ordered", bool(false)]]);
    count += numberOf(field(answer, "matchedCount"));
  }
  return count;
}
