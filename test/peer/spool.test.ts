import assert from 'node:assert/strict'
import test from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { PeerError } from '../../src/errors.ts'
import { parseAddress } from '../../src/rpc/address.ts'
import type { AnnouncePeerResponseSchema } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'
import { startPeer } from './start-peer.ts'

type Answer = MessageInitShape<typeof AnnouncePeerResponseSchema>

const toSource: Answer = { response: { case: 'needBackToSourceResponse', value: {} } }

test("backToSource 'never' asks a scheduler that knows nobody again, until somebody has the content", async (t) => {
  const content = new Content(5 * 1024 * 1024, 3)
  const holder = await startPeer(t)
  const { url } = await origin(t, { length: content.length, seed: 3 })
  await holder.download(url).done
  const { port } = parseAddress(holder.address) as { readonly port: number }
  let asked = 0
  const parents = (taskId: string): Answer => ({
    response: {
      case: 'normalTaskResponse',
      value: {
        candidateParents: [
          {
            id: 'holder',
            task: { id: taskId, contentLength: BigInt(content.length) },
            host: { id: 'holder', ip: '127.0.0.1', hostname: 'holder', port, downloadPort: port },
          },
        ],
      },
    },
  })
  const scheduler = await ScriptedScheduler.start(t, {
    async *announcePeer(requests) {
      for await (const { request, taskId } of requests) {
        if (request.case !== 'registerPeerRequest') continue
        asked++
        yield asked < 3 ? toSource : parents(taskId)
      }
    },
  })
  const child = await startPeer(t, { scheduler: scheduler.address })
  verifyBytes(await child.download(url, { backToSource: 'never' }).bytes(), content)
  // Two in vain, one for the length, and one of the run itself.
  assert.equal(asked, 4)
})

test("backToSource 'never' with a scheduler that knows nobody is NO_PARENTS when its time is over, and says how long that was", async (t) => {
  const { url, requests } = await origin(t, { length: 10 })
  const scheduler = await ScriptedScheduler.start(t, {
    async *announcePeer(all) {
      for await (const { request } of all) {
        if (request.case === 'registerPeerRequest') yield toSource
      }
    },
  })
  const child = await startPeer(t, {
    scheduler: scheduler.address,
    limits: { parentsTimeoutMs: 600 },
  })
  await assert.rejects(child.download(url, { backToSource: 'never' }).bytes(), (error) => {
    assert.ok(PeerError.is(error, 'NO_PARENTS'))
    const { waitedMs } = error.details
    return waitedMs >= 590 && waitedMs < 3000
  })
  assert.ok(scheduler.said.length >= 2)
  assert.equal(requests.length, 0)
})
