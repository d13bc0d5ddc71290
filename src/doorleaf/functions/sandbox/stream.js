// Streams and the process, as far as packages need them to be loaded and to go on in memory. A part of the prelude.

const nodeStream = once(() => {
  const Emitter = nodeEvents(), { inherits } = nodeUtil();
  // A function, because packages from before there were classes call it on an object of theirs.
  function Stream() { Emitter.call(this); }
  inherits(Stream, Emitter);
  const pipe = function (target, given) {
    // What a stream of a package's own making sends: there is no pausing of one that has no `pause`.
    const data = (piece) => { if (target.writable !== false && target.write(piece) === false) this.pause?.(); };
    const drain = () => this.resume?.();
    const end = () => target.end();
    const listening = [[this, "data", data], [target, "drain", drain]];
    if (given?.end !== false) listening.push([this, "end", end]);
    const leave = () => { for (const [of, name, work] of listening) of.removeListener(name, work); };
    for (const [of, name, work] of listening) of.on(name, work);
    for (const [of, name] of [[this, "end"], [this, "close"], [target, "close"]]) of.once(name, leave);
    target.emit("pipe", this);
    return target;
  };
  define(Stream.prototype, "pipe", { value: pipe, writable: true, configurable: true });
  // Packages inherit from these when they are loaded; what takes one is refused.
  for (const name of ["Readable", "Writable", "Duplex", "Transform", "PassThrough"]) {
    const Type = function () { fail(`stream.${name} is not available in a function`); };
    define(Type, "name", { value: name });
    inherits(Type, Stream);
    Stream[name] = Type;
  }
  for (const name of ["pipeline", "finished"]) Stream[name] = () => fail(`stream.${name} is not available in a function`);
  return (Stream.Stream = Stream);
});

// For packages: `versions` is empty, and `browser` true, so that those that run anywhere do without the rest of Node.js.
const nodeProcess = once(() => {
  const began = Date.now();
  const hrtime = (before = [0, 0]) => {
    const [seconds, rest] = [Math.floor(Date.now() / 1000) - before[0], (Date.now() % 1000) * 1e6 - before[1]];
    return rest < 0 ? [seconds - 1, rest + 1e9] : [seconds, rest];
  };
  hrtime.bigint = () => BigInt(Date.now()) * 1000000n;
  const process = {
    title: "doorleaf", browser: true, version: "v20.0.0", versions: {}, platform: "linux", arch: "", pid: 1, argv: [], execArgv: [], env: {},
    cwd: () => "/", uptime: () => (Date.now() - began) / 1000, hrtime, emitWarning() {},
    nextTick: (work, ...given) => web().queueMicrotask(() => fallible(work, given)),
  };
  for (const name of ["on", "once", "off", "addListener", "removeListener", "removeAllListeners"]) process[name] = () => process;
  process.emit = () => false;
  process.listeners = () => [];
  return process;
});
