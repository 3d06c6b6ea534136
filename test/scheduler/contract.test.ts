import { addressText } from '../../src/rpc/address.ts'
import { localChannel, openChannel } from '../../src/rpc/channel.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { EmbeddedScheduler } from '../../src/scheduler/embedded/scheduler.ts'
import { schedulerContract } from '../contract/scheduler.ts'

schedulerContract('EmbeddedScheduler in the process', () => {
  const scheduler = new EmbeddedScheduler()
  const channel = localChannel(scheduler.routes)
  return {
    transport: channel,
    close() {
      scheduler.close()
      channel.close()
    },
  }
})

schedulerContract('EmbeddedScheduler over HTTP/2', async () => {
  const scheduler = new EmbeddedScheduler()
  const server = await serveRpc({ routes: scheduler.routes, host: '127.0.0.1', port: 0 })
  const channel = openChannel({ address: addressText(server.address) })
  return {
    transport: channel,
    async close() {
      scheduler.close()
      channel.close()
      await server.close()
    },
  }
})
