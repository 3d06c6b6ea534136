/** All uploads at once, each at its part of the rate: what the Rust client does. */

/** See `src/transport/turns.ts`. */
export class Turns {
  /** Resolves at once: only the places for uploads count. */
  take(): Promise<Disposable> {
    return Promise.resolve({ [Symbol.dispose]: () => undefined })
  }
}
