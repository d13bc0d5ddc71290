'use strict';
// The peer of the functions: the same endpoint as an Express route with MongoDB's own driver, one process.
// Environment: PORT, MONGODB_URI.

const express = require('express');
const { MongoClient } = require('mongodb');

const client = new MongoClient(process.env.MONGODB_URI, { maxPoolSize: 100 });
const people = client.db('bench').collection(process.env.COLLECTION);
const app = express();

app.disable('x-powered-by');
app.use(express.json());

app.post('/endpoint/javascript', async (request, response) => {
  response.json(await people.findOne({ _id: request.body.id }));
});

const server = app.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening on', process.env.PORT));

process.on('SIGTERM', async () => {
  server.close();
  await client.close();
});
