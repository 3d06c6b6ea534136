import type { NativeErrorCode } from './native.ts'

/** Errors of the operating system that a registration ends with when too little memory may be locked. */
const enomem: readonly unknown[] = [12, -12, 'ENOMEM']

/** What a completion says (`ibv_wc_status`), in words. Those that a child sees. */
const statuses: ReadonlyMap<number, string> = new Map([
  [1, 'local length error'],
  [2, 'local queue pair error'],
  [4, 'local protection error'],
  [5, 'flushed'],
  [7, 'bad response'],
  [8, 'local access error'],
  [9, 'invalid request'],
  [10, 'remote access error: the parent takes the memory back'],
  [11, 'remote operation error'],
  [12, 'retries exceeded: the parent does not answer'],
  [13, 'receiver not ready'],
  [19, 'fatal error'],
  [20, 'response timeout'],
])

/** Whether an error is one of the addon with this code. */
export function isNative(error: unknown, code: NativeErrorCode): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Whether an error is one of the addon, of any code. */
export function isOfAddon(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return typeof error.code === 'string' && error.code.startsWith('ERR_RDMA_')
}

/** Whether a registration failed because the process may not lock so much memory. */
export function isMemlock(error: unknown): boolean {
  return (
    isNative(error, 'ERR_RDMA_REGISTER') &&
    error instanceof Error &&
    'errno' in error &&
    enomem.includes(error.errno)
  )
}

/** What went wrong in the addon, in plain English. */
export function nativeReason(error: unknown): string {
  if (isMemlock(error)) {
    return 'Memory cannot be registered: the limit of locked memory (ulimit -l) is too small'
  }
  if (!(error instanceof Error)) return String(error)
  if ('status' in error && typeof error.status === 'number') {
    const words = statuses.get(error.status) ?? 'unknown'
    return `A read ended with status ${error.status} (${words})`
  }
  return error.message
}
