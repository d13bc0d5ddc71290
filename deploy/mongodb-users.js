// Run once by the MongoDB image, when its data folder is empty: the user of Doorleaf, with the rights that it needs.
const password = require("fs").readFileSync("/run/secrets/doorleaf_password", "utf8").trim();
db.getSiblingDB("admin").createUser({
  user: "doorleaf",
  pwd: password,
  roles: [
    { role: "readWrite", db: "shop" },
    { role: "readWrite", db: "doorleaf" },
  ],
});
