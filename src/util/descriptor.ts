import type { Socket } from 'node:net'

/**
 * The descriptor of a connected socket, for the addon; undefined where Node.js does not show it, and then JavaScript moves the bytes. It is not in the documents of
 * Node.js, but has been there on POSIX systems since its first versions.
 */
export function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: unknown } }
  const fd = handle?.fd
  return typeof fd === 'number' && Number.isInteger(fd) && fd >= 0 ? fd : undefined
}
