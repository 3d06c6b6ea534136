// A program that `exit.test.ts` runs: it must end by itself, without process.exit().

import { createClient } from '@connectrpc/connect'

import { addressText } from '../../src/rpc/address.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { TestServices } from './services.ts'

const [how, address] = process.argv.slice(2)
if (how === 'idle' && address !== undefined) {
  await createClient(Scheduler, openChannel({ address })).deleteHost({ hostId: 'any' })
  process.stdout.write('answered\n')
} else {
  const { routes } = new TestServices()
  const server = await serveRpc({ host: '127.0.0.1', port: 0, routes })
  const channel = openChannel({ address: addressText(server.address) })
  const client = createClient(Scheduler, channel)
  await client.deleteHost({ hostId: 'any' })
  const underWay = client.deleteHost({ hostId: 'wait' }).then(
    () => 'answered',
    () => 'failed',
  )
  if (how === 'close') {
    channel.close()
    await server.close()
  } else {
    server.destroy()
  }
  process.stdout.write(`${await underWay}\n`)
}
