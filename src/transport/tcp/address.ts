import { isIP } from 'node:net'
import type { PieceEndpoint } from '../../task/ports.ts'

/** Where a parent serves over TCP. */
export interface TcpAddress {
  readonly ip: string
  readonly port: number
  /** Key in tables. */
  readonly text: string
}

/** The address, when it is a literal one with a usable port. Names are not looked up: they come from the network. */
export function tcpAddress(endpoint: PieceEndpoint): TcpAddress | undefined {
  const { ip, tcpPort: port } = endpoint
  if (isIP(ip) === 0 || port === undefined) return undefined
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  return { ip, port, text: addressText(ip, port) }
}

/** `1.2.3.4:80` or `[::1]:80`. */
export function addressText(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}
