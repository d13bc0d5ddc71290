// Events, and the signals by which a program ends what it has begun, as browsers have them. A part of the prelude.

const events = once(() => {
  const OWN = {}, CODES = { __proto__: null, NotFoundError: 8, NotSupportedError: 9, InvalidStateError: 11, SyntaxError: 12, AbortError: 20, TimeoutError: 23, DataCloneError: 25 };

  class DOMException extends Error {
    constructor(message = "", given = "Error") {
      super(message);
      const told = typeof given === "object" && given !== null ? given : { name: given };
      define(this, "name", { value: String(told.name ?? "Error"), configurable: true });
      if ("cause" in told) define(this, "cause", { value: told.cause, configurable: true });
    }
    get code() { return CODES[this.name] ?? 0; }
  }

  let goesOn, sent;
  class Event {
    #type; #given; #prevented = false; #stopped = false; #target = null; #at = null; #time = Date.now();
    static {
      goesOn = (event) => !event.#stopped;
      sent = (event, target) => { if (target !== null) event.#target = target; event.#at = target; };
    }
    constructor(type, given) {
      if (arguments.length === 0) fail("Event takes a type");
      [this.#type, this.#given] = [String(type), { ...given }];
    }
    get type() { return this.#type; }
    get target() { return this.#target; }
    get srcElement() { return this.#target; }
    get currentTarget() { return this.#at; }
    get eventPhase() { return this.#at === null ? 0 : 2; }
    get timeStamp() { return this.#time; }
    get bubbles() { return this.#given.bubbles === true; }
    get cancelable() { return this.#given.cancelable === true; }
    get composed() { return this.#given.composed === true; }
    get defaultPrevented() { return this.#prevented; }
    get returnValue() { return !this.#prevented; }
    get isTrusted() { return false; }
    preventDefault() { if (this.cancelable) this.#prevented = true; }
    stopPropagation() {}
    stopImmediatePropagation() { this.#stopped = true; }
    composedPath() { return this.#at === null ? [] : [this.#at]; }
  }

  class EventTarget {
    #all = [];
    addEventListener(name, work, given) {
      if (work === null || work === undefined) return;
      if (typeof work !== "function" && typeof work !== "object") fail("addEventListener takes a function, or an object with handleEvent");
      const { once: ends = false, signal } = typeof given === "object" && given !== null ? given : {};
      const capture = (typeof given === "object" ? given?.capture : given) === true;
      if (signal?.aborted || this.#all.some((one) => one.name === String(name) && one.work === work && one.capture === capture)) return;
      this.#all.push({ name: String(name), work, ends, capture });
      signal?.addEventListener("abort", () => this.removeEventListener(name, work, capture), { once: true });
    }
    removeEventListener(name, work, given) {
      const capture = (typeof given === "object" ? given?.capture : given) === true;
      this.#all = this.#all.filter((one) => one.name !== String(name) || one.work !== work || one.capture !== capture);
    }
    dispatchEvent(event) {
      if (!(event instanceof Event)) fail("dispatchEvent takes an Event");
      sent(event, this);
      for (const one of [...this.#all]) {
        if (one.name !== event.type || !this.#all.includes(one)) continue;
        if (one.ends) this.removeEventListener(one.name, one.work, one.capture);
        // What one throws is logged, and the others are told all the same.
        fallible((told) => (typeof one.work === "function" ? one.work.call(this, told) : one.work.handleEvent(told)), [event]);
        if (!goesOn(event)) break;
      }
      sent(event, null);
      return !event.defaultPrevented;
    }
  }

  let end;
  const aborted = () => new DOMException("This operation was aborted", "AbortError");
  class AbortSignal extends EventTarget {
    #aborted = false; #reason; #on = null;
    static {
      end = (signal, reason = aborted()) => {
        if (signal.#aborted) return;
        [signal.#aborted, signal.#reason] = [true, reason];
        signal.dispatchEvent(new Event("abort"));
      };
    }
    constructor(own) {
      if (own !== OWN) fail("AbortSignal: signals are of an AbortController, or made by abort, timeout and any");
      super();
    }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    get onabort() { return this.#on; }
    set onabort(work) {
      this.removeEventListener("abort", this.#on);
      this.#on = typeof work === "function" ? work : null;
      this.addEventListener("abort", this.#on);
    }
    throwIfAborted() { if (this.#aborted) throw this.#reason; }
    static abort(reason) { const made = new AbortSignal(OWN); end(made, reason); return made; }
    static timeout(time) {
      if (!(Number(time) >= 0)) throw new RangeError("AbortSignal.timeout takes milliseconds");
      const made = new AbortSignal(OWN);
      after(() => end(made, new DOMException("The operation was aborted due to timeout", "TimeoutError")), time, false, []);
      return made;
    }
    static any(signals) {
      const made = new AbortSignal(OWN);
      for (const signal of signals) heeding(signal, (reason) => end(made, reason));
      return made;
    }
  }
  class AbortController {
    #signal = new AbortSignal(OWN);
    get signal() { return this.#signal; }
    abort(reason) { end(this.#signal, reason); }
  }

  // What packages read of these.
  for (const Type of [DOMException, Event, EventTarget, AbortSignal, AbortController]) define(Type.prototype, Symbol.toStringTag, { value: Type.name, configurable: true });
  return { DOMException, Event, EventTarget, AbortSignal, AbortController, aborted };
});

function heeding(signal, end) {
  // Call `end` with the reason when a signal says so, or at once where it has; what leaves it. Also for signals of packages.
  if (signal === undefined || signal === null) return () => {};
  if (typeof signal.addEventListener !== "function") fail("signal: expected an AbortSignal");
  const told = () => end(signal.reason ?? events().aborted());
  if (signal.aborted) told();
  else signal.addEventListener("abort", told, { once: true });
  return () => signal.removeEventListener("abort", told);
}
const abortion = (reason) => Object.assign(new Error("The operation was aborted"), { name: "AbortError", code: "ABORT_ERR", cause: reason });
