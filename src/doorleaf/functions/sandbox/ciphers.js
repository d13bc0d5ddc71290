// Ciphers and keys made of passwords, as the crypto module of Node.js has them; the server computes them. A part of the prelude.

const nodeCiphers = once(() => {
  const Buffer = buffers(), { view } = web();
  const bytesOf = (value, encoding) => (typeof value === "string" ? Buffer.from(value, encoding) : view(value));
  const told = (value) => bytes(typeof value === "string" ? value : value?.type === "secret" ? value.export() : view(value));
  const ask = (does, given) => asked({ to: "ciphers", does, ...given });

  function begun(does, algorithm, key, iv) {
    // All that came so far is given each time, and what is new of the answer is handed on: the server keeps nothing.
    const how = { algorithm: String(algorithm), key: told(key), iv: told(iv ?? "") };
    let given = Buffer.alloc(0), sent = 0, over = false;
    const text = new Map(); // a decoder for each encoding, since characters are cut anywhere
    const next = (ends) => {
      const found = ask(does, { ...how, input: bytes(given), ends });
      if (found.tag) how.made = found.tag.buffer;
      const all = Buffer.from(found.bytes.buffer), piece = all.subarray(sent);
      sent = all.length;
      return piece;
    };
    const written = (piece, encoding, ends) => {
      if (encoding === undefined || encoding === "buffer") return piece;
      if (!text.has(encoding)) text.set(encoding, new (nodeDecoder().StringDecoder)(encoding));
      return ends ? text.get(encoding).end(piece) : text.get(encoding).write(piece);
    };
    const open = () => { if (over) fail("crypto: final was called already"); };
    next(false); // what is wrong is said at once
    const object = {
      update(data, from, encoding) {
        open();
        given = Buffer.concat([given, bytesOf(data, from)]);
        return written(next(false), encoding, false);
      },
      final(encoding) {
        open();
        const found = next(true);
        over = true;
        return written(found, encoding, true);
      },
      setAutoPadding(pads = true) { how.pads = pads === true; return object; },
      setAAD(data) { how.beside = told(data); return object; },
    };
    if (does === "encrypt") object.getAuthTag = () => (how.made === undefined ? fail("crypto: a tag is there after final, of a cipher with one") : Buffer.from(how.made));
    else object.setAuthTag = (tag, encoding) => { how.tag = bytes(bytesOf(tag, encoding)); return object; };
    return object;
  }

  const derived = (does, given) => Buffer.from(ask(does, given).buffer);
  const pbkdf2Sync = (password, salt, iterations, keylen, digest) =>
    derived("pbkdf2", { password: told(password), salt: told(salt), iterations, keylen, digest: String(digest) });
  const scryptSync = (password, salt, keylen, given = {}) =>
    derived("scrypt", { password: told(password), salt: told(salt), keylen, N: given.N ?? given.cost ?? 16384, r: given.r ?? given.blockSize ?? 8, p: given.p ?? given.parallelization ?? 1 });
  // With a callback behind its arguments, as Node.js has it.
  const later = (work) => (...given) => {
    const done = given.pop();
    if (typeof done !== "function") fail("crypto: expected a callback");
    new Promise((found) => found(work(...given))).then((value) => fallible(done, [null, value]), (error) => fallible(done, [error]));
  };
  return {
    createCipheriv: (algorithm, key, iv) => begun("encrypt", algorithm, key, iv),
    createDecipheriv: (algorithm, key, iv) => begun("decrypt", algorithm, key, iv),
    pbkdf2Sync, pbkdf2: later(pbkdf2Sync), scryptSync, scrypt: later(scryptSync),
    getCiphers: () => [128, 192, 256].flatMap((bits) => ["cbc", "ctr", "gcm"].map((mode) => `aes-${bits}-${mode}`)),
  };
});
