/**
 * Where a gRPC server listens: an IP address and a port, or the path of a unix socket.
 */
export type RpcAddress = { readonly ip: string; readonly port: number } | { readonly path: string }

/** What `parseAddress` found. A host may be a name. */
export type DialTarget =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }

/**
 * The text form of an address, as `openChannel` takes it: `10.0.0.1:65001`, `[fd00::1]:65001`, `unix:/run/peer.sock`.
 */
export function addressText(address: RpcAddress): string {
  if ('path' in address) return `unix:${address.path}`
  return address.ip.includes(':')
    ? `[${address.ip}]:${address.port}`
    : `${address.ip}:${address.port}`
}

/**
 * Reads the text form of an address: `host:port`, `[IPv6]:port`, `unix:/absolute/path` or `unix:///absolute/path`.
 *
 * Throws a `TypeError` for anything else. `tcp://`, `http://` and the like are refused rather than guessed at.
 */
export function parseAddress(address: string): DialTarget {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(address)?.[1]
  if (unix !== undefined) return { path: unix }
  const [, bracketed, name, digits] = /^(?:\[([^\]]+)\]|([^:/[\]]+)):(\d{1,5})$/.exec(address) ?? []
  const host = bracketed ?? name
  const port = Number(digits)
  if (host === undefined || !(port >= 1 && port <= 65535)) {
    throw new TypeError('A gRPC address must be host:port, [IPv6]:port or unix:/path')
  }
  return { host, port }
}
