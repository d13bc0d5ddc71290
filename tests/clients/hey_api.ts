import { client } from "./hey/client.gen";
import * as api from "./hey/sdk.gen";

client.setConfig({ baseUrl: process.argv[2]!, headers: { apiKey: process.argv[3]! } });

async function examples(): Promise<void> {
  // CALLS
}

async function walk(): Promise<void> {
  const place = { database: "walk", collection: "pens" };
  const throwOnError = true;
  const made = await api.insertOne({ throwOnError, body: { ...place, document: { n: 1 } } });
  const id = String(made.data.insertedId);
  const by = { ...place, filter: { _id: { $oid: id } } };
  const found = await api.findOne({ throwOnError, body: by });
  const changed = await api.updateOne({ throwOnError, body: { ...by, update: { $inc: { n: 1 } } } });
  const counted = await api.countDocuments({ throwOnError, body: { ...place, filter: { n: 2 } } });
  const gone = await api.deleteOne({ throwOnError, body: by });
  const after = await api.findOne({ throwOnError, body: by });
  const refused = await api.findOne({ body: { ...by, filter: { $no: 1 } } });
  const document: { [key: string]: unknown } | null = found.data.document;
  const numbers: number[] = [changed.data.matchedCount, changed.data.modifiedCount, counted.data.count];
  const why: string = refused.error!.error;
  console.log(JSON.stringify({
    id,
    document,
    numbers,
    deleted: gone.data.deletedCount,
    after: after.data.document,
    why,
    code: refused.error!.error_code,
  }));
}

await examples();
await walk();
