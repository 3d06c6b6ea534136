import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below the range from which systems take the ports of outgoing connections, and within what the Go scheduler lets a host announce (1024 to 65534). */
const first = 12_000
const count = 20_000
/** Tries per port that was asked for. Most ports are free, so a hundred means that something else is wrong. */
const triesMax = 100

/**
 * Ports on 127.0.0.1 that are free for TCP and for UDP now. A program gets them by its configuration, so they cannot be held until it listens; they
 * are drawn at random so that tests side by side do not meet.
 */
export async function freePorts(wanted: number): Promise<number[]> {
  const ports = new Set<number>()
  for (let tries = wanted * triesMax; ports.size < wanted; tries -= 1) {
    if (tries === 0) throw new Error(`No ${wanted} free ports`)
    const port = first + Math.floor(Math.random() * count)
    if (!ports.has(port) && (await isFree(port))) ports.add(port)
  }
  return [...ports]
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const socket = createSocket('udp4')
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    socket.bind(port, '127.0.0.1')
    await once(socket, 'listening')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return false
  } finally {
    server.close()
    socket.close()
  }
}
