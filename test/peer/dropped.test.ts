import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { announcementsAtOnce } from '../../src/peer/announcements.ts'
import { type Deferred, deferred } from '../../src/util/deferred.ts'
import { cleanup } from '../support/cleanup.ts'
import { type Origin, origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { localPeer, type LocalPeer } from './local/local-peer.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'
import { runsOf, startPeer, waitFor } from './start-peer.ts'

const length = 1000

/** A scheduler that answers claims and deletions when a test lets it, and writes down in which order it has heard what. */
class Clerk {
  /** `claims`, `asks`, `has`, `deleted`, each with the task. */
  readonly heard: string[] = []
  /** Deletions that were asked for. */
  deletions = 0
  readonly #gates: Record<'claims' | 'deletes', Deferred<void>> = {
    claims: deferred(),
    deletes: deferred(),
  }
  #address = ''

  static async start(t: TestContext, closed: readonly ('claims' | 'deletes')[]): Promise<Clerk> {
    const clerk = new Clerk()
    const gates = clerk.#gates
    for (const name of ['claims', 'deletes'] as const) {
      if (!closed.includes(name)) gates[name].resolve()
    }
    const note = (what: string, taskId: string): void => void clerk.heard.push(`${what} ${taskId}`)
    const scheduler = await ScriptedScheduler.start(t, {
      announcePeer: async function* (requests) {
        for await (const { taskId, request } of requests) {
          if (request.case === 'registerPeerRequest') {
            const claims = request.value.download?.metadataOnly === true
            note(claims ? 'claims' : 'asks', taskId)
            if (claims) await gates.claims.promise
            yield {
              response: claims
                ? { case: 'metadataOnlyResponse' as const, value: {} }
                : { case: 'needBackToSourceResponse' as const, value: {} },
            }
          }
          if (!/Peer(BackToSource)?Finished/.test(request.case ?? '')) continue
          note('has', taskId)
          return
        }
      },
      deleteTask: async ({ taskId }) => {
        clerk.deletions++
        await gates.deletes.promise
        note('deleted', taskId)
        return {}
      },
    })
    clerk.#address = scheduler.address
    // A test that fails would leave handlers that wait.
    cleanup(t, () => void clerk.open('claims').open('deletes'))
    return clerk
  }

  get address(): string {
    return this.#address
  }

  /** From now on these are answered. */
  open(name: 'claims' | 'deletes'): this {
    this.#gates[name].resolve()
    return this
  }

  /** What was heard of a task. */
  of(taskId: string): readonly string[] {
    return this.heard.flatMap((line) => {
      const [what, id] = line.split(' ')
      return what !== undefined && id === taskId ? [what] : []
    })
  }
}

/** A peer that finds so many tasks in its store when it starts, and tells this scheduler. */
async function restarted(
  t: TestContext,
  clerk: Clerk,
  from: Origin,
  count: number,
): Promise<{ readonly local: LocalPeer; readonly ids: readonly string[] }> {
  const dir = tempFolder(t)
  const before = await startPeer(t, { store: { dir } })
  const urls = Array.from({ length: count }, (_, at) => from.urlOf(`/${at}`))
  const infos = await Promise.all(urls.map((url) => before.download(url).done))
  await before.close()
  const local = await localPeer(t, { store: { dir }, scheduler: clerk.address })
  await waitFor(() => clerk.heard.length === Math.min(count, announcementsAtOnce))
  return { local, ids: infos.map(({ id }) => id) }
}

test('Announcements.announce() takes it back when the task is dropped while it is announced', async (t) => {
  const clerk = await Clerk.start(t, ['claims'])
  const { local, ids } = await restarted(t, clerk, await origin(t, { length }), 1)
  const [taskId = ''] = ids
  await local.client.deleteTask({ taskId })
  clerk.open('claims')
  await waitFor(() => clerk.of(taskId).length === 4)
  assert.deepEqual(clerk.of(taskId), ['claims', 'deleted', 'has', 'deleted'])
})

test('Announcements.announce() says nothing of a task that is dropped before its turn, and hears of its next end', async (t) => {
  const clerk = await Clerk.start(t, ['claims'])
  const from = await origin(t, { length })
  const { local, ids } = await restarted(t, clerk, from, announcementsAtOnce + 2)
  const [taskId = '', other = ''] = ids.filter((id) => clerk.of(id).length === 0)
  await local.client.deleteTask({ taskId })
  clerk.open('claims')
  await waitFor(() => clerk.of(other).length === 2)
  await local.peer.download(from.urlOf('/last')).done
  assert.deepEqual(clerk.of(taskId), ['deleted'])
  const path = join(local.folder, 'file')
  writeFileSync(path, Buffer.alloc(length, 1))
  const seeding = await local.peer.seed(path, { url: from.urlOf(`/${ids.indexOf(taskId)}`) })
  assert.equal(seeding.task.id, taskId)
  await seeding.stop()
  await waitFor(() => clerk.of(taskId).length === 4)
  assert.deepEqual(clerk.of(taskId), ['deleted', 'claims', 'has', 'deleted'])
})

test('Announcements.announce() takes nothing back while the task is downloaded anew', async (t) => {
  const clerk = await Clerk.start(t, ['claims'])
  let gate = Promise.resolve()
  const from = await origin(t, {
    length,
    answer: async ({ kind }) => (kind === 'stat' ? undefined : gate.then(() => undefined)),
  })
  const { local, ids } = await restarted(t, clerk, from, 1)
  const [taskId = ''] = ids
  const goOn = deferred<void>()
  cleanup(t, () => goOn.resolve())
  gate = goOn.promise
  from.change({ seed: 5 })
  const download = local.peer.download(from.urlOf('/0')).done
  await waitFor(() => clerk.of(taskId).includes('asks'))
  clerk.open('claims')
  await waitFor(() => clerk.of(taskId).includes('has'))
  goOn.resolve()
  await download
  // One end and one beginning are told, and no end after that.
  await local.peer.close()
  assert.deepEqual(clerk.of(taskId), ['claims', 'deleted', 'asks', 'has', 'has'])
})

test('Announcements make known what came again before the scheduler heard that it was gone', async (t) => {
  const clerk = await Clerk.start(t, ['deletes'])
  const peer = await startPeer(t, { scheduler: clerk.address })
  const path = join(tempFolder(t), 'file')
  writeFileSync(path, Buffer.alloc(length, 1))
  const options = { url: 'http://origin.test/file' }
  const first = await peer.seed(path, options)
  await first.stop()
  const { task } = await peer.seed(path, options)
  clerk.open('deletes')
  await waitFor(() => clerk.of(task.id).length === 7)
  const last = ['deleted', 'claims', 'has']
  assert.deepEqual(clerk.of(task.id), ['claims', 'has', 'claims', 'has', ...last])
})

test('removeTask() that the caller gives up leaves the task known, and its end to be told', async (t) => {
  const clerk = await Clerk.start(t, ['deletes'])
  const from = await origin(t, { length })
  const local = await localPeer(t, { scheduler: clerk.address })
  const { id: taskId } = await local.peer.download(from.url).done
  await waitFor(() => runsOf(local.peer).length === 0)
  const caller = new AbortController()
  const deletion = local.client.deleteTask({ taskId }, { signal: caller.signal })
  const refused = assert.rejects(deletion)
  await waitFor(() => clerk.deletions === 1)
  caller.abort()
  await refused
  await waitFor(() => clerk.of(taskId).length === 4)
  assert.deepEqual(clerk.of(taskId), ['asks', 'has', 'claims', 'has'])
  from.change({ seed: 5 })
  await local.peer.download(from.url).done
  assert.equal(clerk.deletions, 2)
})
