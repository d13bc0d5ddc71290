'use strict';
// The peer of the fan-out: one change stream of MongoDB's own driver, sent to every client of `ws`, written once each.
// Environment: PORT, MONGODB_URI.

const { WebSocketServer } = require('ws');
const { MongoClient, BSON } = require('mongodb');

const sockets = new WebSocketServer({ port: Number(process.env.PORT), host: '127.0.0.1' });

async function main() {
  const client = await new MongoClient(process.env.MONGODB_URI).connect();
  const changes = client.db('bench').collection('c').watch([], { fullDocument: 'updateLookup' });
  changes.on('change', (event) => {
    const text = BSON.EJSON.stringify({
      type: 'event',
      operation: event.operationType.toUpperCase(),
      collection: event.ns.coll,
      document: event.fullDocument,
      resumeToken: event._id._data,
    });
    for (const socket of sockets.clients) socket.send(text);
  });
  console.log('listening on', process.env.PORT);
}

main();
