import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { Code } from '@connectrpc/connect'
import { PeerError } from '../../src/errors.ts'
import { portOf } from '../rpc/wire.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import type { Case } from './go-scheduler.ts'
import { assertTraffic, namesAll, onePiece, scene, startPeer } from './scene.ts'

const limit = { timeout: 30_000 }

describe('A scheduler that fails', { concurrency: 64 }, () => {
  const codes = [
    ...[Code.NotFound, Code.ResourceExhausted, Code.FailedPrecondition, Code.Internal],
    ...[Code.InvalidArgument, Code.Unavailable, Code.DeadlineExceeded, Code.Unimplemented],
  ]
  const stages: readonly (readonly [string, Case, boolean])[] = [
    ['the registration', 'registerPeerRequest', false],
    ['the start', 'downloadPeerStartedRequest', true],
    ['the report of a piece', 'downloadPieceFinishedRequest', true],
    ['the question for others', 'reschedulePeerRequest', false],
    ['the end', 'downloadPeerFinishedRequest', true],
  ]
  for (const [stage, failing, parentsKept] of stages) {
    it(`${stage}, with any code, takes no parents away and holds nothing up`, limit, async (t) => {
      await Promise.all(
        codes.map(async (code) => {
          const { download, parents, from } = await scene(t, {
            on: (named) => {
              const otherwise = namesAll(named)
              return (stream, request) => {
                if (request.case !== failing) return otherwise(stream, request)
                stream.call.end(code, 'said no')
                return true
              }
            },
          })
          if (failing === 'reschedulePeerRequest') parents[0]?.haves.delete(0)
          // Where the parents must be kept, a busy machine shall not make the origin the quicker one.
          const info = await download({ backToSource: parentsKept ? 'never' : 'allow' })
          const what = `${Code[code]}: ${JSON.stringify(info.traffic)}`
          assert.equal(info.traffic.source === 0, parentsKept, what)
          assert.equal(from.counts.ranged === 0, parentsKept, what)
        }),
      )
    })
  }

  it('once, being busy, is asked again after a pause', limit, async (t) => {
    const { download, scheduler } = await scene(t, {
      on: (named) => {
        const otherwise = namesAll(named)
        return (stream, request) => {
          if (request.case === 'registerPeerRequest' && scheduler.streams.length < 3) {
            stream.call.end(Code.ResourceExhausted, 'rate limit')
            return true
          }
          return otherwise(stream, request)
        }
      },
    })
    assertTraffic(await download(), { source: 0, peers: onePiece })
    assert.equal(scheduler.streams.length, 3)
  })

  it('because the cluster forbids the download ends it', limit, async (t) => {
    for (const [code, text] of [
      [Code.FailedPrecondition, 'LEVEL1 peer is forbidden'],
      [Code.PermissionDenied, 'blocked'],
    ] as const) {
      const { download, from } = await scene(t, {
        on: () => (stream) => {
          stream.call.end(code, text)
          return true
        },
      })
      await assert.rejects(download(), (error) => {
        assert.ok(PeerError.is(error, 'SCHEDULER_REFUSED'), String(error))
        return error.details.forbidden === true && error.details.reason === text
      })
      assert.equal(from.counts.ranged + from.counts.full, 0)
    }
  })

  it('because it has forgotten this peer is registered with anew', limit, async (t) => {
    const { download, parents, scheduler } = await scene(t, {
      parents: 2,
      on:
        ([first, second]) =>
        (stream, { case: said }) => {
          assert.ok(first !== undefined && second !== undefined)
          if (said === 'registerPeerRequest') {
            // The first stream only asks for the length.
            stream.parents((scheduler.streams.length < 3 ? first : second).candidate())
          } else if (said === 'reschedulePeerRequest') {
            stream.call.end(Code.NotFound, 'peer not found')
            return true
          }
          return undefined
        },
    })
    const [first, second] = parents
    first?.haves.delete(0)
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
    assert.deepEqual(second?.asked, [0])
    assert.equal(scheduler.streams.length, 3)
    assert.equal(new Set(scheduler.streams.map(({ peerId }) => peerId)).size, 3)
  })
})

/** A server that is no scheduler. */
async function listen(t: TestContext, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => {
    server.close()
  })
  return `127.0.0.1:${portOf(server)}`
}

describe('What is no scheduler at all', { concurrency: 64 }, () => {
  const servers: readonly (readonly [string, () => Server])[] = [
    ['a web server', () => createServer((_, response) => response.end('<p>hello'))],
    [
      'a port that greets and hangs up',
      () => createTcpServer((socket) => socket.end('220 hi\r\n')),
    ],
    ['a port that hangs up', () => createTcpServer((socket) => socket.destroy())],
    [
      'a port that sends bytes without end',
      () =>
        createTcpServer((socket) => {
          socket.on('error', () => undefined)
          const more = (): void => {
            let room = true
            while (room) room = !socket.destroyed && socket.write(Buffer.alloc(65_536, 7))
          }
          socket.on('drain', more)
          more()
        }),
    ],
  ]
  for (const [name, make] of servers) {
    it(`${name}: the peer starts, and downloads from the origin`, limit, async (t) => {
      const from = await origin(t, { length: onePiece })
      const peer = await startPeer(t, { scheduler: await listen(t, make()) })
      verifyBytes(await peer.download(from.url).bytes(), from.content)
    })
  }
})
