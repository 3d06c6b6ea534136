import type { Order, Report } from './messages.ts'

/** Tells the main process. */
export function report(message: Report): void {
  if (process.connected) process.send?.(message)
}

/**
 * The life of a child process: it does what it is told, one order after the other, until it is told to close or the main process is gone.
 * After `close` nothing may keep it alive: it is not made to exit, it has to exit by itself.
 */
export function obey(act: (order: Order) => Promise<Report | undefined>): void {
  let last: Promise<void> = Promise.resolve()
  const run = async (order: Order): Promise<void> => {
    try {
      const answer = await act(order)
      if (answer !== undefined) report(answer)
    } catch (error) {
      report({ is: 'failed', reason: error instanceof Error ? error.message : String(error) })
    }
    if (order.is !== 'close') return
    process.off('disconnect', abandoned)
    process.disconnect()
  }
  // Without its main process a child has nothing to do, and nobody would ever end it.
  const abandoned = (): never => process.exit(1)
  process.once('disconnect', abandoned)
  process.on('message', (order: Order) => {
    last = last.then(() => run(order))
  })
}
