import { type ContextKey, createContextKey } from '@connectrpc/connect'

/** From which address a call came; `local` for calls that never left this process. Handlers find it in `context.values`. */
export const callerKey: ContextKey<string> = createContextKey('local', {
  description: 'address of the caller',
})
