// Keys and signatures as the crypto module of Node.js has them; the server computes what takes a key. A part of the prelude.

const nodeKeys = once(() => {
  const Buffer = buffers(), { view } = web();
  const constants = Object.freeze({
    RSA_PKCS1_PADDING: 1, RSA_PKCS1_PSS_PADDING: 6, RSA_PSS_SALTLEN_DIGEST: -1, RSA_PSS_SALTLEN_MAX_SIGN: -2, RSA_PSS_SALTLEN_AUTO: -2,
  });
  const OWN = {};
  const ask = (does, given) => asked({ to: "keys", does, ...given });
  const bytesOf = (value, encoding) => (typeof value === "string" ? Buffer.from(value, encoding) : view(value));
  let told; // of a KeyObject, what it is made of

  class KeyObject {
    #of;
    static { told = (key) => (typeof key === "object" && key !== null && #of in key ? key.#of : undefined); }
    constructor(own, of) {
      if (own !== OWN) fail("KeyObject: keys are made by createSecretKey, createPrivateKey and createPublicKey");
      this.#of = of;
    }
    get type() { return this.#of.type; }
    get asymmetricKeyType() { return this.#of.kind; }
    get asymmetricKeyDetails() {
      const { details } = this.#of;
      return details?.publicExponent === undefined ? details : { ...details, publicExponent: BigInt(details.publicExponent) };
    }
    get symmetricKeySize() { return this.#of.secret?.length; }
    equals(other) {
      const { type, pem, secret } = this.#of, its = told(other);
      return type === its?.type && (secret === undefined ? pem === its.pem : Buffer.compare(secret, its.secret) === 0);
    }
    export(given) {
      const { type, pem, secret } = this.#of;
      if (given !== undefined && given.format !== undefined && !["pem", "der"].includes(given.format) && !(secret && given.format === "buffer")) {
        fail(`KeyObject.export: the format ${given.format} is not available in a function`);
      }
      if (secret !== undefined) return Buffer.from(secret);
      const form = type === "public" ? "spki" : "pkcs8";
      if ((given?.type ?? form) !== form) fail(`KeyObject.export: the type of a ${type} key is ${form}, ${given.type} is not available in a function`);
      if (given?.cipher !== undefined || given?.passphrase !== undefined) fail("KeyObject.export: passphrases are not available in a function");
      return given?.format === "der" ? Buffer.from(pem.replace(/-----[^\n]*-----|\s/g, ""), "base64") : pem;
    }
  }

  function material(given) {
    // What the server is told of a key, and the options beside it.
    const known = told(given);
    if (known !== undefined) return known.pem === undefined ? fail("crypto: expected a private or a public key, got a secret one") : { pem: known.pem };
    if (typeof given === "string" || ArrayBuffer.isView(given) || given instanceof ArrayBuffer) {
      const pem = typeof given === "string" ? given : Buffer.from(view(given)).toString("latin1");
      return pem.includes("-----BEGIN") ? { pem } : fail("crypto: expected a key in PEM");
    }
    if (typeof given !== "object" || given === null || given.key === undefined) fail("crypto: expected a key in PEM, a KeyObject, or an object with a key");
    if (given.passphrase !== undefined) fail("crypto: a key with a passphrase is not available in a function");
    if (given.format === "jwk") {
      const jwk = {};
      for (const name of ["kty", "crv", "n", "e", "x", "y", "d"]) if (typeof given.key?.[name] === "string") jwk[name] = given.key[name];
      return { jwk };
    }
    if (given.format === "der") return { der: Buffer.from(bytesOf(given.key, given.encoding)).toString("base64") };
    return (given.format ?? "pem") === "pem" ? material(given.key) : fail(`crypto: the format ${given.format} is none of a key`);
  }

  const made = (type, given) => new KeyObject(OWN, { type, ...ask("read", { type, ...material(given) }) });
  function createPublicKey(given) {
    const known = told(given?.key ?? given);
    if (known !== undefined && known.type !== "private") fail(`createPublicKey: expected a private key, got a ${known.type} one`);
    return made("public", given);
  }
  const createPrivateKey = (given) => (told(given) === undefined ? made("private", given) : fail("createPrivateKey: got a key that is made already"));
  const createSecretKey = (key, encoding) => new KeyObject(OWN, { type: "secret", secret: Buffer.from(bytesOf(key, encoding)) });

  function chosen(algorithm) {
    // The hash of a signature, by any of its names; none for keys that have their own.
    if (algorithm === undefined || algorithm === null) return {};
    const found = /^(?:rsa-)?sha-?(1|224|256|384|512)(?:withrsaencryption)?$/i.exec(algorithm);
    return found === null ? fail(`crypto: signatures over ${algorithm} are not available in a function`) : { hash: `sha${found[1]}` };
  }
  function manner(key) {
    // How it is signed, as the options beside a key say it.
    const { padding, saltLength, dsaEncoding } = told(key) === undefined && typeof key === "object" && key !== null ? key : {};
    return { padding, salt: saltLength, form: dsaEncoding };
  }
  const signed = (algorithm, input, key) => Buffer.from(view(ask("sign", { ...chosen(algorithm), ...material(key), ...manner(key), input: bytes(input) }).buffer));
  const holds = (algorithm, input, key, signature) =>
    ask("verify", { ...chosen(algorithm), ...material(key), ...manner(key), input: bytes(input), signature: bytes(view(signature)) });

  const over = (algorithm, methods) => {
    chosen(algorithm);
    const parts = [];
    const object = { update(given, encoding) { parts.push(Buffer.from(bytesOf(given, encoding))); return object; } };
    return Object.assign(object, methods(() => Buffer.concat(parts)));
  };
  const createSign = (algorithm) => over(algorithm, (all) => ({
    sign(key, encoding) {
      const found = signed(algorithm, all(), key);
      return encoding === undefined || encoding === "buffer" ? found : found.toString(encoding);
    },
  }));
  const createVerify = (algorithm) => over(algorithm, (all) => ({
    verify: (key, signature, encoding) => holds(algorithm, all(), key, bytesOf(signature, encoding)),
  }));
  // With a callback, as Node.js has it, or in place.
  const either = (work, done) => {
    if (done === undefined) return work();
    return new Promise((found) => found(work())).then((value) => fallible(done, [null, value]), (error) => fallible(done, [error]));
  };
  return {
    constants, KeyObject, createPublicKey, createPrivateKey, createSecretKey, createSign, createVerify,
    sign: (algorithm, data, key, done) => either(() => signed(algorithm, data, key), done),
    verify: (algorithm, data, key, signature, done) => either(() => holds(algorithm, data, key, signature), done),
    getHashes: () => ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"],
  };
});
