import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Code, createClient } from '@connectrpc/connect'

import { localChannel } from '../../src/rpc/channel.ts'
import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { Health } from '../../src/rpc/health.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'

function setUp(t: Ending) {
  const health = new Health()
  const channel = localChannel((router) => router.service(HealthService, health.service))
  cleanup(t, () => channel.close())
  return { health, client: createClient(HealthService, channel) }
}

test('Health.check() answers for the server, for named services, and NOT_FOUND for others', async (t) => {
  const { health, client } = setUp(t)
  assert.equal((await client.check({})).status, ServingStatus.SERVING)
  const service = 'dfdaemon.v2.DfdaemonUpload'
  await assert.rejects(client.check({ service }), { code: Code.NotFound })
  health.set(service, 'not-serving')
  assert.equal((await client.check({ service })).status, ServingStatus.NOT_SERVING)
  health.set(service, 'serving')
  assert.equal((await client.check({ service })).status, ServingStatus.SERVING)
  health.set('', 'not-serving')
  assert.equal((await client.check({})).status, ServingStatus.NOT_SERVING)
})

test('Health.watch() tells the present status and each change, also of a service that is unknown yet', async (t) => {
  const { health, client } = setUp(t)
  const controller = new AbortController()
  const { signal } = controller
  const statuses: ServingStatus[] = []
  const next = [
    () => health.set('late', 'not-serving'),
    () => {
      health.set('other', 'serving')
      health.set('late', 'not-serving')
      health.set('late', 'serving')
    },
    () => controller.abort(),
  ]
  await assert.rejects(
    async () => {
      for await (const { status } of client.watch({ service: 'late' }, { signal })) {
        statuses.push(status)
        next.shift()?.()
      }
    },
    { code: Code.Canceled },
  )
  assert.deepEqual(statuses, [
    ServingStatus.SERVICE_UNKNOWN,
    ServingStatus.NOT_SERVING,
    ServingStatus.SERVING,
  ])
})
