// How modules tell each other that something happened.

/** A list of listeners: on(f) adds one and returns how to take it off again, emit(...) calls all. */
export function channel() {
  const listeners = new Set();
  return {
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    emit(...values) {
      for (const listener of [...listeners]) listener(...values);
    },
  };
}

/** Calls f once, `wait` milliseconds after the last of a burst of calls, but never later than `most` after the first. */
export function calm(f, wait = 250, most = 2000) {
  let timer = 0;
  let first = 0;
  return () => {
    const now = performance.now();
    if (!timer) first = now;
    clearTimeout(timer);
    timer = setTimeout(() => { timer = 0; f(); }, Math.max(0, Math.min(wait, first + most - now)));
  };
}
