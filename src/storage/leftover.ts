import { rm } from 'node:fs/promises'

/** Removes what a failure leaves behind. Should that fail as well, the failure itself is still what the caller is told, and the next start removes the file. */
export async function removeLeftover(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined)
}
