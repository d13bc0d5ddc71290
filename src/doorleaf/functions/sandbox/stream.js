// The streams of Node.js in memory, which its requests and packages are made of. A part of the prelude.

const nodeStream = once(() => {
  const Emitter = nodeEvents(), { inherits } = nodeUtil(), Buffer = buffers(), OPEN = 64 * 1024;
  const later = (work) => nodeProcess().nextTick(work);
  const method = (Type, methods) => { for (const name of Reflect.ownKeys(methods)) define(Type.prototype, name, { value: methods[name], writable: true, configurable: true }); };
  const shows = (Type, values) => { for (const name in values) define(Type.prototype, name, { get() { return values[name].call(this); }, set() {}, configurable: true }); };
  const known = new WeakMap();
  function its(stream) {
    // Made when it is first asked for: packages from before there were classes may not call the constructor.
    if (!known.has(stream)) {
      known.set(stream, {
        queue: [], flowing: null, objects: false, runs: false, reads: false, ended: false, endTold: false, decoder: undefined, open: OPEN,
        pending: [], size: 0, writes: false, drains: false, ending: false, finished: false, destroyed: false, closed: false, error: undefined, lasts: false, piped: [],
      });
    }
    return known.get(stream);
  }
  // Functions, because packages from before there were classes call them on an object of theirs.
  function Stream() { Emitter.call(this); }
  inherits(Stream, Emitter);
  method(Stream, {
    pipe(target, given) {
      // What a stream of a package's own making sends: there is no pausing of one that has no `pause`.
      const data = (piece) => { if (target.writable !== false && target.write(piece) === false) this.pause?.(); };
      const drain = () => this.resume?.();
      const end = () => target.end();
      const listening = [[this, "data", data], [target, "drain", drain]];
      if (given?.end !== false) listening.push([this, "end", end]);
      const leave = () => { for (const [of, name, work] of listening) of.removeListener(name, work); };
      its(this).piped.push([target, leave]);
      target.emit("pipe", this);
      for (const [of, name, work] of listening) of.on(name, work);
      for (const [of, name] of [[this, "end"], [this, "close"], [target, "close"]]) of.once(name, leave);
      return target;
    },
    unpipe(target) {
      const state = its(this), gone = state.piped.filter(([to]) => target === undefined || to === target);
      state.piped = state.piped.filter((one) => !gone.includes(one));
      for (const [to, leave] of gone) { leave(); to.emit("unpipe", this); }
      return this;
    },
  });
  const of = { objectMode: "objects", highWaterMark: "open" }, taken = ["read", "write", "writev", "final", "transform", "flush", "destroy"];
  function begin(stream, given) {
    Stream.call(stream);
    const state = its(stream);
    for (const name in of) if (given?.[name] !== undefined) state[of[name]] = given[name];
    if (given?.readableObjectMode || given?.writableObjectMode) state.objects = true;
    if (given?.autoDestroy === false) state.lasts = true;
    for (const name of taken) if (typeof given?.[name] === "function") stream[`_${name}`] = given[name];
    if (given?.encoding) stream.setEncoding(given.encoding);
  }
  const bytesFor = (stream, piece, encoding) => {
    if (its(stream).objects) return piece;
    if (typeof piece === "string") return Buffer.from(piece, encoding === "buffer" ? undefined : encoding);
    return ArrayBuffer.isView(piece) ? Buffer.from(piece) : fail("a stream takes text and bytes");
  };
  const premature = () => Object.assign(new Error("Premature close"), { code: "ERR_STREAM_PREMATURE_CLOSE" });
  const ending = {
    destroy(error, told) {
      const state = its(this);
      if (state.destroyed) return this;
      state.destroyed = true;
      state.queue = [];
      this._destroy(error ?? null, (failed) => later(() => {
        told?.(failed);
        state.error = failed ?? undefined;
        if (failed) this.emit("error", failed);
        if (!state.closed) { state.closed = true; this.emit("close"); }
      }));
      return this;
    },
    _destroy(error, done) { done(error); },
  };
  const closing = (stream) => {
    const state = its(stream);
    if (state.closed || state.lasts) return;
    state.closed = state.destroyed = true;
    stream.emit("close");
  };

  // --- reading ---

  function Readable(given) { begin(this, given); }
  inherits(Readable, Stream);
  function flow(stream) {
    // Hand out what is there, one turn at a time, so that whoever begins to listen in this turn misses nothing.
    const state = its(stream);
    if (state.runs) return;
    state.runs = true;
    later(() => {
      state.runs = false;
      while (state.flowing && state.queue.length > 0) stream.emit("data", state.queue.shift());
      if (state.queue.length > 0 && !state.flowing) stream.emit("readable");
      if (state.queue.length === 0 && state.ended && (state.flowing || stream.listenerCount("readable") > 0)) return told(stream);
      if (!state.ended && !state.destroyed && !state.reads && state.queue.length === 0 && state.flowing !== false) {
        state.reads = true;
        stream._read(state.open);
      }
    });
  }
  function told(stream) {
    const state = its(stream);
    if (state.endTold || state.destroyed) return;
    state.endTold = true;
    stream.emit("end");
    if (!(stream instanceof Duplex) || state.finished) later(() => closing(stream));
  }
  function take(stream, piece, encoding, first) {
    const state = its(stream);
    state.reads = false;
    if (state.destroyed) return false;
    if (piece === null) {
      const rest = state.decoder?.end();
      if (rest) state.queue.push(rest);
      state.ended = true;
    } else if (state.ended) {
      throw new Error("stream.push() after EOF");
    } else {
      let bytes = bytesFor(stream, piece, encoding);
      if (state.decoder !== undefined) bytes = state.decoder.write(bytes);
      if (state.objects || bytes.length > 0) state.queue[first ? "unshift" : "push"](bytes);
    }
    flow(stream);
    return state.queue.reduce((size, one) => size + (state.objects ? 1 : one.length), 0) < state.open;
  }
  const listen = function (name, work) {
    Emitter.prototype.on.call(this, name, work);
    if (name === "data" && its(this).flowing !== false) this.resume();
    else if (name === "readable") flow(this);
    return this;
  };
  method(Readable, {
    ...ending, on: listen, addListener: listen, _read() {},
    push(piece, encoding) { return take(this, piece, encoding, false); },
    unshift(piece, encoding) { return take(this, piece, encoding, true); },
    resume() { its(this).flowing = true; flow(this); return this; },
    pause() { its(this).flowing = false; return this; },
    isPaused() { return its(this).flowing === false; },
    setEncoding(encoding) {
      const state = its(this);
      state.decoder = new (nodeDecoder().StringDecoder)(encoding);
      state.queue = state.queue.map((piece) => state.decoder.write(piece));
      return this;
    },
    read(count) {
      const state = its(this), { queue } = state;
      flow(this);
      if (queue.length === 0) return null;
      if (state.objects) return queue.shift();
      const all = queue.length === 1 ? queue[0] : typeof queue[0] === "string" ? queue.join("") : Buffer.concat(queue);
      if (count > all.length && !state.ended) return null;
      state.queue = count < all.length ? [all.slice(count)] : [];
      return count < all.length ? all.slice(0, count) : all;
    },
    async *[Symbol.asyncIterator]() {
      const state = its(this), cut = () => state.error ?? (state.endTold ? undefined : premature());
      let wake, ends = true, error = state.closed ? cut() : undefined, over = state.endTold;
      const waiting = [], ready = () => wake?.();
      const listening = [["data", (piece) => { waiting.push(piece); ready(); }], ["end", () => { over = true; ready(); }], ["close", () => { error ??= cut(); over = true; ready(); }], ["error", (failed) => { error = failed; ready(); }]];
      for (const [name, work] of listening) this.on(name, work);
      try {
        for (;;) {
          while (waiting.length > 0) yield waiting.shift();
          if (error !== undefined || over) ends = !state.lasts;
          if (error !== undefined) throw error;
          if (over) return;
          await new Promise((done) => { wake = done; });
        }
      } finally {
        for (const [name, work] of listening) this.off(name, work);
        if (ends) this.destroy();
      }
    },
  });
  shows(Readable, {
    _readableState() { return (its(this).shown ??= { autoDestroy: !its(this).lasts, objectMode: its(this).objects }); }, // which packages look for, and change
    readable() { return !its(this).destroyed && !its(this).endTold; }, destroyed() { return its(this).destroyed; }, closed() { return its(this).closed; },
    readableEnded() { return its(this).endTold; }, readableFlowing() { return its(this).flowing; }, readableObjectMode() { return its(this).objects; },
    readableLength() { return its(this).queue.reduce((size, one) => size + (its(this).objects ? 1 : one.length), 0); }, readableHighWaterMark() { return its(this).open; },
  });
  Readable.from = (all, given) => {
    const pieces = (typeof all === "string" || ArrayBuffer.isView(all) ? [all] : all), made = new Readable({ objectMode: true, ...given });
    (async () => { for await (const piece of pieces) made.push(piece); made.push(null); })().catch((error) => made.destroy(error));
    return made;
  };

  // --- writing ---

  function Writable(given) { begin(this, given); }
  inherits(Writable, Stream);
  function advance(stream) {
    const state = its(stream);
    if (state.writes || state.destroyed) return;
    const next = state.pending.shift();
    if (next === undefined) {
      if (state.drains) { state.drains = false; later(() => stream.emit("drain")); }
      if (!state.ending || state.finished) return;
      state.writes = true;
      return stream._final((error) => later(() => {
        state.writes = false;
        if (error) return stream.destroy(error);
        state.finished = true;
        stream.emit("finish");
        if (!(stream instanceof Duplex) || state.endTold) closing(stream);
      }));
    }
    state.writes = true;
    stream._write(next.bytes, next.encoding, (error) => later(() => {
      state.writes = false;
      state.size -= next.bytes?.length ?? 1;
      next.told?.(error ?? null);
      if (error) stream.destroy(error);
      else advance(stream);
    }));
  }
  const writing = {
    write(piece, encoding, told) {
      if (typeof encoding === "function") [encoding, told] = [undefined, encoding];
      const state = its(this);
      if (state.ending || state.destroyed) {
        const error = Object.assign(new Error("write after end"), { code: "ERR_STREAM_WRITE_AFTER_END" });
        later(() => { told?.(error); if (!state.destroyed) this.emit("error", error); });
        return false;
      }
      const bytes = bytesFor(this, piece, encoding);
      state.size += bytes?.length ?? 1;
      state.pending.push({ bytes, encoding: typeof piece === "string" && state.objects ? (encoding ?? "utf8") : "buffer", told });
      advance(this);
      if (state.size >= state.open) state.drains = true;
      return !state.drains;
    },
    end(piece, encoding, told) {
      if (typeof piece === "function") [piece, told] = [undefined, piece];
      else if (typeof encoding === "function") [encoding, told] = [undefined, encoding];
      if (piece !== undefined && piece !== null) this.write(piece, encoding);
      if (typeof told === "function") this.once("finish", told);
      its(this).ending = true;
      advance(this);
      return this;
    },
    _write(piece, encoding, done) { if (this._writev) this._writev([{ chunk: piece, encoding }], done); else fail("a Writable has a method _write"); },
    _final(done) { done(); },
    cork() {}, uncork() {}, setDefaultEncoding() { return this; },
  };
  method(Writable, { ...ending, ...writing });
  const writable = {
    _writableState() { return (its(this).shown ??= { autoDestroy: !its(this).lasts, objectMode: its(this).objects }); },
    writable() { return !its(this).destroyed && !its(this).ending; }, writableEnded() { return its(this).ending; }, writableFinished() { return its(this).finished; },
    writableLength() { return its(this).size; }, writableHighWaterMark() { return its(this).open; }, writableNeedDrain() { return its(this).drains; },
    writableObjectMode() { return its(this).objects; },
  };
  shows(Writable, { ...writable, destroyed() { return its(this).destroyed; }, closed() { return its(this).closed; } });

  function Duplex(given) { begin(this, given); }
  inherits(Duplex, Readable);
  method(Duplex, writing);
  shows(Duplex, writable);
  const ordinary = Function.prototype[Symbol.hasInstance];
  define(Writable, Symbol.hasInstance, { value(one) { return ordinary.call(this, one) || (this === Writable && ordinary.call(Duplex, one)); } });

  function Transform(given) { begin(this, given); }
  inherits(Transform, Duplex);
  method(Transform, {
    _write(piece, encoding, done) {
      this._transform(piece, encoding, (error, made) => { if (!error && made !== undefined && made !== null) this.push(made); done(error); });
    },
    _transform() { fail("a Transform has a method _transform"); },
    _final(done) {
      const end = (error, made) => { if (!error) { if (made !== undefined && made !== null) this.push(made); this.push(null); } done(error); };
      if (this._flush) this._flush(end);
      else end();
    },
  });
  function PassThrough(given) { begin(this, given); }
  inherits(PassThrough, Transform);
  method(PassThrough, { _transform(piece, encoding, done) { done(null, piece); } });

  // --- what looks at others ---

  function finished(stream, given, told) {
    if (typeof given === "function") told = given;
    const reads = typeof stream.read === "function" || stream.readable === true, writes = typeof stream.write === "function";
    let left = (reads && stream.readableEnded !== true ? 1 : 0) + (writes && stream.writableFinished !== true ? 1 : 0), over = false;
    const tell = (error) => { if (!over) { over = true; leave(); told.call(stream, error); } };
    const part = () => { left -= 1; if (left <= 0) tell(); };
    const listening = [["error", tell], ["close", () => tell(left > 0 ? premature() : undefined)]];
    if (reads) listening.push(["end", part]);
    if (writes) listening.push(["finish", part]);
    const leave = () => { for (const [name, work] of listening) stream.removeListener(name, work); };
    for (const [name, work] of listening) stream.on(name, work);
    if (left === 0) later(() => tell());
    else if (known.has(stream) && its(stream).closed) later(() => tell(its(stream).error ?? premature()));
    return leave;
  }
  function pipeline(...given) {
    const told = typeof given.at(-1) === "function" ? given.pop() : () => {};
    const { signal } = Array.isArray(given.at(-1)) || typeof given.at(-1)?.on === "function" ? {} : given.pop(), all = given.flat();
    let over = false, leave;
    const end = (error) => {
      if (over) return;
      over = true;
      leave?.();
      if (error) for (const one of all) one.destroy?.();
      told(error);
    };
    for (const one of all.slice(0, -1)) one.on("error", end);
    finished(all.at(-1), end);
    leave = heeding(signal, (reason) => end(abortion(reason)));
    return all.reduce((from, to) => from.pipe(to));
  }
  const promised = (work) => (...given) => new Promise((done, failed) => work(...given, (error) => (error ? failed(error) : done())));
  return Object.assign(Stream, {
    Stream, Readable, Writable, Duplex, Transform, PassThrough, pipeline, finished,
    addAbortSignal: (signal, stream) => { stream.once("close", heeding(signal, (reason) => stream.destroy(abortion(reason)))); return stream; },
    promises: { pipeline: promised(pipeline), finished: promised(finished) },
  });
});

// For packages, of which many look here for what they run in.
const nodeProcess = once(() => {
  const began = Date.now();
  const hrtime = (before = [0, 0]) => {
    const [seconds, rest] = [Math.floor(Date.now() / 1000) - before[0], (Date.now() % 1000) * 1e6 - before[1]];
    return rest < 0 ? [seconds - 1, rest + 1e9] : [seconds, rest];
  };
  hrtime.bigint = () => BigInt(Date.now()) * 1000000n;
  const output = (fd) => {
    // What is written there is a line of the log.
    const told = (given) => { if (typeof given.at(-1) === "function") process.nextTick(given.at(-1)); }; // when it is written
    const write = (text, ...given) => { log(fd === 1 ? "info" : "error")(String(text).replace(/\n$/, "")); told(given); return true; };
    const made = { fd, isTTY: false, columns: 80, writable: true, write, end: (...given) => told(given), emit: () => false };
    for (const name of ["on", "once", "off", "removeListener"]) made[name] = () => made;
    return made;
  };
  const process = {
    title: "doorleaf", version: "v20.0.0", versions: { node: "20.0.0" }, release: { name: "node" }, platform: "linux", arch: "", pid: 1, argv: [], execArgv: [], env: {},
    stdout: output(1), stderr: output(2), cwd: () => "/", umask: () => 18, uptime: () => (Date.now() - began) / 1000, hrtime, emitWarning() {},
    nextTick: (work, ...given) => web().queueMicrotask(() => fallible(work, given)),
  };
  for (const name of ["on", "once", "off", "addListener", "removeListener", "removeAllListeners"]) process[name] = () => process;
  define(process, Symbol.toStringTag, { value: "process" }); // by which packages choose how they send requests
  process.emit = () => false;
  process.listeners = () => [];
  return process;
});
