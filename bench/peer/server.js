'use strict';
// The peer of the benchmark: the same actions with Fastify, MongoDB's own driver and its EJSON, one process.
// Environment: PORT, MONGODB_URI, API_KEY.

const fastify = require('fastify');
const { MongoClient, BSON } = require('mongodb');

const { EJSON } = BSON;
const apiKey = process.env.API_KEY;
const client = new MongoClient(process.env.MONGODB_URI, { maxPoolSize: 100 });

const actions = {
  async findOne(collection, { filter = {}, projection, sort }) {
    return { document: await collection.findOne(filter, { projection, sort }) };
  },
  async find(collection, { filter = {}, projection, sort, skip, limit = 1000 }) {
    return { documents: await collection.find(filter, { projection, sort, skip, limit }).toArray() };
  },
  async insertOne(collection, { document }) {
    const { insertedId } = await collection.insertOne(document);
    return { insertedId };
  },
  async updateOne(collection, { filter = {}, update, upsert }) {
    const { matchedCount, modifiedCount } = await collection.updateOne(filter, update, { upsert });
    return { matchedCount, modifiedCount };
  },
  async aggregate(collection, { pipeline }) {
    return { documents: await collection.aggregate(pipeline).toArray() };
  },
};

const server = fastify({ logger: false, bodyLimit: 16 * 1024 * 1024 });

server.addHook('onRequest', async (request, reply) => {
  if (request.headers.apikey !== apiKey) {
    return reply.code(401).send({ error: 'invalid API key', error_code: 'InvalidSession' });
  }
});

server.setErrorHandler((error, request, reply) => {
  reply.code(error.statusCode || 400).send({ error: error.message, error_code: error.codeName || 'BadRequest' });
});

for (const [name, run] of Object.entries(actions)) {
  server.post(`/data/v1/action/${name}`, async (request, reply) => {
    const body = EJSON.deserialize(request.body, { relaxed: true });
    if (typeof body.collection !== 'string' || typeof body.database !== 'string') {
      return reply.code(400).send({ error: 'database and collection are required', error_code: 'MissingParameter' });
    }
    const result = await run(client.db(body.database).collection(body.collection), body);
    reply.header('content-type', 'application/json; charset=utf-8');
    reply.code(name === 'insertOne' ? 201 : 200);
    return EJSON.stringify(result, { relaxed: true });
  });
}

server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) }).then((address) => console.log(`listening on ${address}`));

process.on('SIGTERM', async () => {
  await server.close();
  await client.close();
});
