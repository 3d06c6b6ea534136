import { PeerError } from '../errors.ts'

/** So often kept content is tried before a disk that keeps losing it is the caller's to hear of. */
const triesMax = 3

/** Kept content may be damaged. That is found when it is used, what is damaged is dropped then, and asked for again it is fetched anew. */
export class Healing {
  #tries = 1

  /** Whether trying again is the answer to this error. */
  helps(error: unknown): boolean {
    if (!PeerError.is(error, 'STORE_CORRUPT', 'FILE_CHANGED')) return false
    this.#tries++
    return this.#tries <= triesMax
  }
}

/** Runs `work` until what it uses is whole. @param forget - called before it runs again */
export async function healed<T>(work: () => Promise<T>, forget: () => void): Promise<T> {
  const healing = new Healing()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!healing.helps(error)) throw error
      forget()
    }
  }
}
