import { isIP } from 'node:net'
import type { Settings } from './settings.ts'
import { externalAddress } from './host-figures.ts'

/** On which address a peer listens and by which one others reach it. */
export interface Addresses {
  readonly listenIp: string
  readonly hostIp: string
}

/**
 * Loopback while the scheduler runs on this machine, so that nothing is open to the network unless it was asked for; with a scheduler elsewhere the address by
 * which the others reach this host.
 */
export function addressesOf(settings: Settings): Addresses {
  const { host, listen } = settings
  const listened = listen.ip === '0.0.0.0' || listen.ip === '::' ? undefined : listen.ip
  const natural =
    listen.ip === undefined && schedulerIsNear(settings) ? '127.0.0.1' : externalAddress()
  const hostIp = host.ip ?? listened ?? natural
  return { hostIp, listenIp: listen.ip ?? hostIp }
}

/** `ip:port`, with brackets around an IPv6 address. */
export function addressOf(ip: string, port: number): string {
  return isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`
}

function schedulerIsNear({ scheduler }: Settings): boolean {
  switch (scheduler.is) {
    case 'embedded':
      return true
    case 'addresses':
      return scheduler.addresses.every(isLoopback)
    case 'manager':
      return isLoopback(scheduler.address)
  }
}

function isLoopback(address: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+$/.test(address)
}
