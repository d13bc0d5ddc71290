import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths, "application/json">({
  baseUrl: process.argv[2]!,
  headers: { apiKey: process.argv[3]! },
});

async function examples(): Promise<void> {
  // CALLS
}

function done(answer: { response: Response; error?: unknown }): void {
  if (!answer.response.ok) throw new Error(JSON.stringify(answer.error));
}

async function walk(): Promise<void> {
  const place = { database: "walk", collection: "pens" };
  const made = await client.POST("/data/v1/action/insertOne", { body: { ...place, document: { n: 1 } } });
  const id = String(made.data!.insertedId);
  const by = { ...place, filter: { _id: { $oid: id } } };
  const found = await client.POST("/data/v1/action/findOne", { body: by });
  const changed = await client.POST("/data/v1/action/updateOne", { body: { ...by, update: { $inc: { n: 1 } } } });
  const counted = await client.POST("/data/v1/action/countDocuments", { body: { ...place, filter: { n: 2 } } });
  const gone = await client.POST("/data/v1/action/deleteOne", { body: by });
  const after = await client.POST("/data/v1/action/findOne", { body: by });
  const refused = await client.POST("/data/v1/action/findOne", { body: { ...by, filter: { $no: 1 } } });
  const document: { [key: string]: unknown } | null = found.data!.document;
  const numbers: number[] = [changed.data!.matchedCount, changed.data!.modifiedCount, counted.data!.count];
  const why: string = refused.error!.error;
  console.log(JSON.stringify({
    id,
    document,
    numbers,
    deleted: gone.data!.deletedCount,
    after: after.data!.document,
    why,
    code: refused.error!.error_code,
  }));
}

await examples();
await walk();
