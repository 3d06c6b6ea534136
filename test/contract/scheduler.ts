import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'

import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'

import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { Child, daemonHost, freshId, mib, wish } from '../scheduler/child.ts'

/** A scheduler that runs. Its state may be older than the test. */
export interface RunningScheduler {
  readonly transport: Transport
  close(): Promise<void> | void
}

/** What a scheduler promises to every peer, whoever wrote either (controlplane 1 to 3). `open` is called once per test. */
export function schedulerContract(
  name: string,
  open: () => Promise<RunningScheduler> | RunningScheduler,
): void {
  const check = (what: string, body: (site: Site) => Promise<void>): void => {
    test(`${name}: ${what}`, { timeout: 30_000 }, async (t) => {
      const running = await open()
      const site = new Site(t, running.transport)
      t.after(() => running.close())
      await body(site)
    })
  }

  check('AnnounceHost makes a host known to ListHosts', async (site) => {
    const host = await site.host({ type: 1 })
    const { hosts } = await site.client.listHosts({ type: 1 })
    assert.ok(hosts.some(({ id }) => id === host))
    await site.client.deleteHost({ hostId: host })
    const { hosts: left } = await site.client.listHosts({})
    assert.ok(left.every(({ id }) => id !== host))
  })

  check('AnnounceHost refuses a host without a literal address', async (site) => {
    const host = { ...daemonHost(freshId()), ip: 'peer.test' }
    await refuses(site.client.announceHost({ host }), Code.InvalidArgument)
  })

  check('DeleteHost says when a host is unknown', async (site) => {
    await refuses(site.client.deleteHost({ hostId: freshId() }), Code.NotFound)
  })

  check('AnnouncePeer of an unknown host ends with NotFound', async (site) => {
    const child = site.child(freshId(), freshId()).register(wish())
    await refuses(child.next(), Code.NotFound)
  })

  check('AnnouncePeer without seeds sends the first child to the origin', async (site) => {
    const child = site.child(await site.host(), freshId()).register(wish())
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
    child.sourceStarted().piece(0).sourceDone()
    assert.equal(await child.next(), undefined)
  })

  check('AnnouncePeer offers a child at the origin to the next one', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host(), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const child = site.child(await site.host(), taskId).register(wish())
    const parents = await child.parents()
    assert.deepEqual(
      parents.map(({ id }) => id),
      [reader.id],
    )
    const [parent] = parents
    assert.equal(parent?.host?.ip, '127.0.0.1')
    assert.equal(parent?.host?.port, 14_000)
    assert.equal(parent?.task?.contentLength, BigInt(64 * mib))
  })

  check('AnnouncePeer offers whoever has finished', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host(), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().sourceDone()
    assert.equal(await reader.next(), undefined)
    const second = site.child(await site.host(), taskId).register(wish())
    assert.deepEqual(ids(await second.parents()), [reader.id])
    second.started().piece(0, reader.id).done()
    assert.equal(await second.next(), undefined)
    const third = site.child(await site.host(), taskId).register(wish())
    assert.deepEqual(ids(await third.parents()).toSorted(), [reader.id, second.id].toSorted())
  })

  check('AnnouncePeer never offers a child its own host', async (site) => {
    const taskId = freshId()
    const host = await site.host()
    const reader = site.child(host, taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const child = site.child(host, taskId).register(wish())
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
  })

  check('AnnouncePeer never offers a host that does not share', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host({ disableShared: true }), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const child = site.child(await site.host(), taskId).register(wish())
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
  })

  check(
    'AnnouncePeer does not offer a parent again that was named in a reschedule',
    async (site) => {
      const taskId = freshId()
      const reader = site.child(await site.host(), taskId).register(wish())
      await reader.next()
      reader.sourceStarted().piece(0)
      const child = site.child(await site.host(), taskId).register(wish())
      const parents = await child.parents()
      child.started().reschedule(parents)
      assert.equal((await child.next())?.case, 'needBackToSourceResponse')
      child.sourceStarted().sourceDone()
      assert.equal(await child.next(), undefined)
    },
  )

  check('AnnouncePeer does not offer a parent again that failed with a piece', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host(), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const child = site.child(await site.host(), taskId).register(wish())
    await child.parents()
    child.started().pieceFailed(3, reader.id).reschedule([])
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
  })

  check('AnnouncePeer forms no circle of daemons', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host(), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const second = site.child(await site.host(), taskId).register(wish())
    const its = await second.parents()
    second.started()
    await site.state(second, 'Running')
    const third = site.child(await site.host(), taskId).register(wish())
    assert.ok(ids(await third.parents()).includes(second.id))
    second.reschedule(its)
    // The third one lives on the second; only the origin is left.
    assert.equal((await second.next())?.case, 'needBackToSourceResponse')
  })

  check('AnnouncePeer says when there is nothing to download', async (site) => {
    const child = site.child(await site.host(), freshId()).register(wish(0))
    assert.equal((await child.next())?.case, 'emptyTaskResponse')
    child.started().done()
    assert.equal(await child.next(), undefined)
  })

  check('AnnouncePeer sends a child to the origin that asks for it', async (site) => {
    const taskId = freshId()
    const reader = site.child(await site.host(), taskId).register(wish())
    await reader.next()
    reader.sourceStarted().piece(0)
    const seed = site.child(await site.host(), taskId)
    seed.register(wish(16, { needBackToSource: true }))
    assert.equal((await seed.next())?.case, 'needBackToSourceResponse')
  })

  check('AnnouncePeer with metadata_only makes a holder known', async (site) => {
    const taskId = freshId()
    const holder = site.child(await site.host(), taskId)
    holder.register(wish(16, { metadataOnly: true }))
    assert.equal((await holder.next())?.case, 'metadataOnlyResponse')
    holder.started().done()
    assert.equal(await holder.next(), undefined)
    const child = site.child(await site.host(), taskId).register(wish())
    assert.deepEqual(ids(await child.parents()), [holder.id])
  })

  check('AnnouncePeer ends in order after a failed download', async (site) => {
    const child = site.child(await site.host(), freshId()).register(wish())
    await child.next()
    child.sourceStarted().sourceFailed()
    assert.equal(await child.next(), undefined)
  })

  check('AnnouncePeer ends in order when the child says nothing more', async (site) => {
    const child = site.child(await site.host(), freshId()).register(wish())
    await child.next()
    child.hangUp()
    assert.equal(await child.next(), undefined)
  })

  check('AnnouncePeer refuses a message that says nothing', async (site) => {
    const child = site.child(await site.host(), freshId()).say({ case: undefined })
    await refuses(child.next(), Code.InvalidArgument)
  })

  check('AnnouncePeer knows no peer that has not registered', async (site) => {
    const child = site.child(await site.host(), freshId()).started()
    await refuses(child.next(), Code.NotFound)
  })

  check('StatTask and StatPeer tell what was registered', async (site) => {
    const taskId = freshId()
    const hostId = await site.host()
    await refuses(site.client.statTask({ hostId, taskId }), Code.NotFound)
    const child = site.child(hostId, taskId).register(wish(16, { tag: 'a', application: 'b' }))
    await child.next()
    child.sourceStarted().piece(0)
    await site.state(child, 'BackToSource')
    const task = await site.client.statTask({ hostId, taskId })
    assert.equal(task.id, taskId)
    assert.equal(task.contentLength, BigInt(64 * mib))
    assert.equal(task.pieceCount, 16)
    assert.equal(task.tag, 'a')
    assert.equal(task.application, 'b')
    assert.equal(task.state, 'Running')
    assert.equal(task.pieces[0]?.length, BigInt(4 * mib))
    await refuses(site.client.statPeer({ hostId, taskId, peerId: 'nobody' }), Code.NotFound)
  })

  check('DeleteTask takes a holder back', async (site) => {
    const taskId = freshId()
    const hostId = await site.host()
    const holder = site.child(hostId, taskId).register(wish())
    await holder.next()
    holder.sourceStarted().sourceDone()
    assert.equal(await holder.next(), undefined)
    await site.client.deleteTask({ hostId, taskId })
    const child = site.child(await site.host(), taskId).register(wish())
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
    await refuses(site.client.deleteTask({ hostId: freshId(), taskId }), Code.NotFound)
  })

  check('DeleteHost takes its peers back', async (site) => {
    const taskId = freshId()
    const hostId = await site.host()
    const holder = site.child(hostId, taskId).register(wish())
    await holder.next()
    holder.sourceStarted().sourceDone()
    assert.equal(await holder.next(), undefined)
    await site.client.deleteHost({ hostId })
    const child = site.child(await site.host(), taskId).register(wish())
    assert.equal((await child.next())?.case, 'needBackToSourceResponse')
  })

  check('DeletePeer takes a peer back, and never fails', async (site) => {
    const taskId = freshId()
    const hostId = await site.host()
    const child = site.child(hostId, taskId).register(wish())
    await child.next()
    child.sourceStarted().sourceDone()
    assert.equal(await child.next(), undefined)
    await site.client.deletePeer({ hostId, taskId, peerId: child.id })
    await refuses(site.client.statPeer({ hostId, taskId, peerId: child.id }), Code.NotFound)
    await site.client.deletePeer({ hostId, taskId, peerId: child.id })
  })

  check('Cache tasks answer, whatever they answer', async (site) => {
    const stat = site.client.statCacheTask({ hostId: await site.host(), taskId: freshId() })
    await stat.catch((error: unknown) => {
      assert.equal(ConnectError.from(error).code, Code.Unimplemented)
    })
  })
}

/** Hosts and children of one test. */
class Site {
  readonly client
  readonly #transport: Transport
  readonly #children: Child[] = []

  constructor(t: TestContext, transport: Transport) {
    this.#transport = transport
    this.client = createClient(Scheduler, transport)
    t.after(() => {
      for (const child of this.#children) child.vanish()
    })
  }

  /** Announces a host; its id. */
  async host(more: Parameters<typeof daemonHost>[1] = {}): Promise<string> {
    const id = `127.0.0.1-${freshId().slice(0, 12)}`
    await this.client.announceHost({ host: daemonHost(id, more), interval: { seconds: 300n } })
    return id
  }

  child(hostId: string, taskId: string): Child {
    const child = new Child(this.#transport, hostId, taskId)
    this.#children.push(child)
    return child
  }

  /** Resolves when the scheduler has taken what makes this the state of the child. */
  async state(child: Child, state: string): Promise<void> {
    for (;;) {
      const names = { hostId: 'any', taskId: child.taskId, peerId: child.id }
      const peer = await this.client.statPeer(names)
      if (peer.state === state) return
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

function ids(peers: readonly { readonly id: string }[]): string[] {
  return peers.map(({ id }) => id)
}

async function refuses(call: Promise<unknown>, code: Code): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.equal(Code[ConnectError.from(error).code], Code[code])
    return true
  })
}
