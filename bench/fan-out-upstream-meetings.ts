/** Nobody is met: a Rust client takes pieces only of whom the scheduler names. */

/** See `src/task/meetings.ts`. */
export class Meetings {
  /** Does nothing. */
  meet(): void {}
}
