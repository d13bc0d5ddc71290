// Plays an app that uses realm-web: node realm_web.mjs <folder with node_modules> <JSON of what to use>.
// Prints one JSON object, an entry for each step: what came back, or the error's code and text.
import { createRequire } from "node:module";

const [folder, given] = process.argv.slice(2);
const Realm = createRequire(`${folder}/package.json`)("realm-web");
const { baseUrl, email, password, key, token } = JSON.parse(given);
const app = new Realm.App({ id: "shop-abcde", baseUrl });
const told = {};

async function step(name, work) {
  try {
    const value = await work();
    told[name] = value === undefined ? null : value;
  } catch (error) {
    told[name] = { failed: error.errorCode ?? error.code ?? error.name, text: error.error ?? error.message };
  }
}

const collection = (name) => app.currentUser.mongoClient("mongodb-atlas").db("x").collection(name);

// --- every way to log in

await step("anonymous", async () => {
  const user = await app.logIn(Realm.Credentials.anonymous());
  return { id: user.id, loggedIn: user.isLoggedIn, deviceId: user.deviceId, identities: user.identities };
});
await step("wrong password", () => app.logIn(Realm.Credentials.emailPassword(email, "nonsense")));
await step("register", () => app.emailPasswordAuth.registerUser({ email, password }));
await step("register again", () => app.emailPasswordAuth.registerUser({ email, password }));
await step("password", async () => {
  const user = await app.logIn(Realm.Credentials.emailPassword(email, password));
  return { id: user.id, profile: user.profile, identities: user.identities, customData: user.customData };
});
await step("confirm with nonsense", () => app.emailPasswordAuth.confirmUser({ token: "e30=", tokenId: "some-id" }));
await step("confirm again", () => app.emailPasswordAuth.resendConfirmationEmail({ email }));
await step("confirm by a function", () => app.emailPasswordAuth.retryCustomConfirmation({ email }));
await step("reset by a function", () =>
  app.emailPasswordAuth.callResetPasswordFunction({ email, password: "another-7" }, "an argument"),
);
await step("reset with nonsense", () =>
  app.emailPasswordAuth.resetPassword({ token: "e30=", tokenId: "some-id", password: "another-7" }),
);
await step("custom token", async () => {
  const user = await app.logIn(Realm.Credentials.jwt(token));
  const profile = user.profile;
  await app.removeUser(user);
  return profile;
});
await step("API key", async () => {
  const user = await app.logIn(Realm.Credentials.apiKey(key));
  const profile = user.profile;
  await app.removeUser(user);
  return profile;
});
await step("link", async () => {
  const own = new Realm.App({ id: "shop-abcde", baseUrl });
  const other = await own.logIn(Realm.Credentials.anonymous(), false);
  const linked = Realm.Credentials.emailPassword("b@example.com", password);
  await own.emailPasswordAuth.registerUser({ email: "b@example.com", password });
  await other.linkCredentials(linked);
  const types = other.identities.map((identity) => identity.providerType);
  if ((await own.logIn(linked, false)).id !== other.id) throw new Error("another user");
  await other.logOut();
  return types;
});
await step("link with a wrong password", async () => {
  const own = new Realm.App({ id: "shop-abcde", baseUrl });
  const other = await own.logIn(Realm.Credentials.anonymous(false), false);
  await other.linkCredentials(Realm.Credentials.emailPassword(email, "nonsense"));
});
await step("a key that is wrong", () => app.logIn(Realm.Credentials.apiKey("nonsense")));
await step("two users", async () => {
  const own = new Realm.App({ id: "two-abcde", baseUrl });
  const one = await own.logIn(Realm.Credentials.anonymous(false));
  const two = await own.logIn(Realm.Credentials.anonymous(false));
  own.switchUser(one);
  await one.logOut();
  const current = own.currentUser.id === two.id;
  await own.removeUser(one);
  const again = new Realm.App({ id: "two-abcde", baseUrl });
  const same = again.currentUser.id === two.id && again.currentUser.refreshToken === two.refreshToken;
  return { differ: one.id !== two.id, current, same, left: Object.keys(own.allUsers).length };
});
await step("current", () => ({ id: app.currentUser.id }));

// --- documents

const ObjectId = Realm.BSON.ObjectId;
const first = new ObjectId("64224f3cd79f54ad342dd9b1");
await step("insertOne", () =>
  collection("y").insertOne({ _id: first, n: 1, when: new Date(0), long: Realm.BSON.Long.fromString("9007199254740993") }),
);
await step("insertMany", () => collection("y").insertMany([{ _id: 2, n: 2 }, { _id: 3, n: 3, deep: { a: [1, null] } }]));
await step("duplicate", () => collection("y").insertOne({ _id: 2 }));
await step("findOne", async () => {
  const found = await collection("y").findOne({ _id: first });
  return { isObjectId: found._id instanceof ObjectId, n: found.n, when: found.when.toISOString() };
});
await step("longs", async () => {
  const times = (text) => collection("y").count({ long: Realm.BSON.Long.fromString(text) });
  return [await times("9007199254740993"), await times("9007199254740992")];
});
await step("findOne nothing", async () => ({ found: await collection("y").findOne({ _id: 99 }) }));
await step("find", async () =>
  collection("y").find({ n: { $gte: 2 } }, { sort: { n: -1 }, limit: 5, projection: { _id: 0, n: 1, deep: 1 } }),
);
await step("find by regular expression", async () => collection("y").find({ name: /^a/i }));
await step("count", () => collection("y").count({ n: { $gt: 1 } }));
await step("aggregate", () => collection("y").aggregate([{ $group: { _id: null, sum: { $sum: "$n" } } }]));
await step("updateOne", () => collection("y").updateOne({ _id: 2 }, { $set: { n: 20 } }));
await step("updateMany", () => collection("y").updateMany({ n: { $gte: 3 } }, { $inc: { n: 1 } }));
await step("upsert", () => collection("y").updateOne({ _id: 4 }, { $set: { n: 4 } }, { upsert: true }));
await step("arrayFilters", () =>
  collection("y").updateOne({ _id: 3 }, { $set: { "deep.a.$[e]": 7 } }, { arrayFilters: [{ e: 1 }] }),
);
await step("findOneAndUpdate", () => collection("y").findOneAndUpdate({ _id: 2 }, { $set: { n: 21 } }));
await step("findOneAndUpdate new", () =>
  collection("y").findOneAndUpdate({ _id: 2 }, { $set: { n: 22 } }, { returnNewDocument: true }),
);
await step("findOneAndReplace", () =>
  collection("y").findOneAndReplace({ _id: 2 }, { m: 1 }, { returnNewDocument: true }),
);
await step("findOneAndDelete", () => collection("y").findOneAndDelete({ _id: 2 }));
await step("findOneAndDelete by name", () =>
  collection("y").functions.findOneAndDelete({ database: "x", collection: "y", filter: { _id: 4 } }),
);
await step("deleteOne", () => collection("y").deleteOne({ _id: 2 }));
await step("deleteMany", () => collection("y").deleteMany({ n: { $gte: 0 } }));

// --- updates that are plain documents, and what is shown of a document that was changed

const plain = collection("plain");
const bare = ({ _id, ...rest }) => rest;
await step("plain documents", async () => {
  await plain.insertMany(["Ada", "Bea", "Cleo"].map((name) => ({ run: 1, name, hidden: "x" })));
  const one = await plain.updateOne({ run: 1, name: "Ada" }, { run: 1, name: "Ava" });
  const found = await plain.findOneAndUpdate(
    { run: 1, name: "Bea" }, { run: 1, name: "Beatrix", hidden: "y" }, { projection: { name: 1 }, returnNewDocument: true },
  );
  const made = await plain.findOneAndUpdate({ run: 2 }, { name: "Dora" }, { upsert: true, returnNewDocument: true });
  const put = await plain.updateOne({ run: 3 }, { run: 3, name: "Eve" }, { upsert: true });
  return {
    one, found: bare(found), made: bare(made), put: { ...put, upsertedId: put.upsertedId instanceof ObjectId },
    all: (await plain.find({}, { sort: { name: 1 } })).map(bare),
  };
});
await step("plain documents, many", async () => {
  const many = await plain.updateMany({ run: 1 }, { hidden: "the same" });
  const put = await plain.updateMany({ run: 4 }, { run: 4, name: "Fay" }, { upsert: true });
  return { many, put: { ...put, upsertedId: put.upsertedId instanceof ObjectId }, of: await plain.count({ hidden: "the same" }) };
});
await step("replaced, with a projection", async () => bare(await plain.findOneAndReplace(
  { run: 3 }, { run: 3, name: "Eva" }, { projection: { name: 1, hidden: 1 }, upsert: true, returnNewDocument: true },
)));
await step("the last one deleted", async () => {
  await plain.insertMany([{ run: 5, name: "a" }, { run: 5, name: "z" }]);
  const { name } = await plain.findOneAndDelete({ run: 5 }, { sort: { name: -1 } });
  return { name, left: await plain.count({ run: 5 }) };
});
await step("unknown function", () => app.currentUser.functions.sum(1, 2));
await step("watch", async () => {
  const events = collection("y").watch();
  const first = events.next();
  await new Promise((done) => setTimeout(done, 1500));
  await collection("y").insertOne({ _id: "w", text: "100% \n", when: new Date(0) });
  await collection("y").updateOne({ _id: "w" }, { $set: { n: 7 }, $unset: { text: 1 } });
  await collection("y").deleteOne({ _id: "w" });
  const found = [(await first).value, (await events.next()).value, (await events.next()).value];
  await events.return();
  return found.map(({ operationType, fullDocument, documentKey, ns, updateDescription }) => ({
    operationType, fullDocument, documentKey, ns, updateDescription,
  }));
});
await step("watch some", async () => {
  const events = collection("y").watch({ ids: ["b"], filter: { operationType: "delete" } });
  const first = events.next();
  await new Promise((done) => setTimeout(done, 1500));
  await collection("y").insertMany([{ _id: "a" }, { _id: "b" }]);
  await collection("y").deleteMany({ _id: { $in: ["a", "b"] } });
  const { value } = await first;
  await events.return();
  return { operationType: value.operationType, key: value.documentKey };
});
await step("watch what may not be", async () => {
  for await (const event of collection("hidden").watch()) return event;
});
await step("watch until logged out", async () => {
  const other = new Realm.App({ id: "other-abcde", baseUrl });
  const user = await other.logIn(Realm.Credentials.anonymous(), false);
  const events = user.mongoClient("mongodb-atlas").db("x").collection("y").watch();
  const first = events.next();
  await new Promise((done) => setTimeout(done, 1500));
  await user.logOut();
  return (await first).value;
});
await step("bad filter", () => collection("y").find({ $who: 1 }));
await step("no rule", () => collection("hidden").find());

// --- what users see of each other

await step("isolation", async () => {
  await collection("notes").insertOne({ owner: app.currentUser.id, text: "mine" });
  const mine = await collection("notes").find();
  const other = Object.values(app.allUsers).find((user) => user.id !== app.currentUser.id && user.isLoggedIn);
  app.switchUser(other);
  const theirs = await collection("notes").find();
  app.switchUser(Object.values(app.allUsers).find((user) => user.providerType === "local-userpass"));
  return { mine: mine.length, theirs: theirs.length, others: other.providerType };
});

// --- keys of one's own

await step("keys", async () => {
  const keys = app.currentUser.apiKeys;
  const made = await keys.create("phone");
  const listed = await keys.fetchAll();
  const one = await keys.fetch(made._id);
  await keys.disable(made._id);
  const off = await keys.fetch(made._id);
  await keys.enable(made._id);
  const other = new Realm.App({ id: "other-abcde", baseUrl });
  const user = await other.logIn(Realm.Credentials.apiKey(made.key));
  await keys.delete(made._id);
  return { listed, one, off: off.disabled, same: user.id === app.currentUser.id, left: await keys.fetchAll() };
});

// --- sessions

await step("refresh", async () => {
  const before = app.currentUser.accessToken;
  app.currentUser.accessToken = before.slice(0, -4) + "AAAA";
  const count = await collection("y").count({});
  return { count, renewed: app.currentUser.accessToken !== before.slice(0, -4) + "AAAA" };
});
await step("refreshCustomData", () => app.currentUser.refreshCustomData());
await step("log out", async () => {
  const user = app.currentUser;
  const { accessToken, refreshToken } = user;
  await user.logOut();
  const bearer = { Authorization: `Bearer ${refreshToken}` };
  const renewed = await fetch(`${baseUrl}/api/client/v2.0/auth/session`, { method: "POST", headers: bearer });
  const profile = await fetch(`${baseUrl}/api/client/v2.0/auth/profile`, {
    headers: { Authorization: `Bearer ${accessToken}` },
  });
  return { state: user.state, renewed: renewed.status, profile: profile.status };
});
await step("delete", async () => {
  const user = await app.logIn(Realm.Credentials.emailPassword(email, password));
  await app.deleteUser(user);
  return { users: Object.keys(app.allUsers).includes(user.id) };
});
await step("log in after deletion", () => app.logIn(Realm.Credentials.emailPassword(email, password)));

console.log(JSON.stringify(told));
