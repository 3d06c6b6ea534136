import assert from 'node:assert/strict'
import { test } from 'node:test'

import { createClient } from '@connectrpc/connect'

import { addressText } from '../../src/rpc/address.ts'
import { backendError } from '../../src/rpc/backend-detail.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'

test('openChannel() keeps the status of a call whose details are JSON', async (t) => {
  leaks(t)
  const detail = { message: 'No such file', header: { server: 'origin' }, statusCode: 404 }
  const server = await serveRpc({
    host: '127.0.0.1',
    port: 0,
    routes: (router) => {
      router.service(DfdaemonUpload, {
        async *downloadTask() {
          throw backendError(detail)
        },
        statTask() {
          throw backendError({ message: 'Unreachable', header: {} })
        },
      })
    },
  })
  cleanup(t, () => server.close())
  const channel = openChannel({ address: addressText(server.address) })
  cleanup(t, () => channel.close())
  const client = createClient(DfdaemonUpload, channel)
  await assert.rejects(
    async () => {
      for await (const _ of client.downloadTask({})) continue
    },
    (error) => {
      const { is, reason, backend } = rpcError(error)
      assert.deepEqual(
        { is, reason, backend },
        { is: 'internal', reason: detail.message, backend: detail },
      )
      return true
    },
  )
  await assert.rejects(client.statTask({}), (error) => {
    const { backend } = rpcError(error)
    assert.deepEqual(backend, { message: 'Unreachable', header: {} })
    return true
  })
})
