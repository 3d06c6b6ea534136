import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { PeerError } from '../../src/errors.ts'
import { companyMax, Meetings, questionsMax } from '../../src/task/meetings.ts'
import { Parents } from '../../src/task/parents.ts'
import { geometry } from '../../src/task/piece.ts'
import type { Parent, TaskSpec } from '../../src/task/ports.ts'
import { spec } from '../sim/content.ts'
import { lost } from '../sim/scheduler.ts'

const parentOf = (id: string): Parent => ({
  id,
  hostId: `host-${id}`,
  ip: '127.0.0.1',
  port: 4000,
  seed: false,
})

/** Meetings with everything that they tell. */
class Site {
  readonly parents: Parents = new Parents()
  readonly asked: string[] = []
  readonly met: string[] = []
  readonly broken: unknown[] = []
  readonly life: AbortController = new AbortController()
  readonly meetings: Meetings
  version: string | undefined = 'v'

  constructor(
    find: (peerId: string) => Promise<Parent | undefined>,
    { kind = spec.kind, pieceCount = 10 }: { kind?: TaskSpec['kind']; pieceCount?: number } = {},
  ) {
    const announcer = {
      find: (_: TaskSpec, peerId: string) => {
        this.asked.push(peerId)
        return find(peerId)
      },
    }
    const cut = geometry(pieceCount * 10, 10)
    this.meetings = new Meetings(
      {
        spec: { ...spec, kind },
        cut,
        announcer,
        parents: this.parents,
        version: () => this.version,
      },
      {
        onMet: (child) => {
          this.met.push(child.id)
          this.parents.add(child, 'met')
        },
        onBroken: (error) => this.broken.push(error),
      },
      this.life.signal,
    )
  }

  /** Children ask for pieces, one after the other. */
  async come(...ids: readonly string[]): Promise<void> {
    for (const id of ids) this.meetings.meet(id)
    await setImmediate()
  }
}

const known = (id: string): Promise<Parent> => Promise.resolve(parentOf(id))

test('Meetings.meet() meets whom the scheduler knows, once', async () => {
  const site = new Site(async (id) => (id === 'stranger' ? undefined : parentOf(id)))
  await site.come('a', 'a', 'stranger')
  await site.come('a')
  assert.deepEqual(site.met, ['a'])
  assert.deepEqual(site.asked, ['a', 'stranger'])
})

test('Meetings.meet() waits until the version is known, with as many as it may meet', async () => {
  const site = new Site(known)
  site.version = undefined
  const children = Array.from({ length: companyMax + 2 }, (_, at) => `child ${at}`)
  await site.come('child 0', ...children)
  assert.deepEqual(site.asked, [])
  site.version = 'v'
  site.meetings.onVersion()
  await setImmediate()
  assert.deepEqual(site.met, children.slice(0, companyMax))
})

test('Meetings.meet() does not meet a second peer of one host', async () => {
  const site = new Site(async (id) => ({ ...parentOf(id), hostId: 'one host' }))
  await site.come('a')
  await site.come('b')
  assert.deepEqual([site.met, site.asked], [['a'], ['a', 'b']])
})

test('Meetings.meet() asks nobody about a parent that is known', async () => {
  const site = new Site(known)
  site.parents.add(parentOf('a'), 'named')
  await site.come('a')
  assert.deepEqual(site.asked, [])
})

test('Meetings.meet() meets until the run has enough parents, those on their way included', async () => {
  const site = new Site(known)
  site.parents.add(parentOf('named'), 'named')
  const children = Array.from({ length: companyMax }, (_, at) => `child ${at}`)
  await site.come(...children)
  assert.deepEqual(site.asked, children.slice(0, -1))
  await site.come('late')
  assert.deepEqual(site.met, children.slice(0, -1))
  // One that is given up makes room.
  site.parents.onFailure('child 1', { code: 'PARENT_PROTOCOL', startedAt: 0 }, 0)
  await site.come('late')
  assert.deepEqual(site.met, [...children.slice(0, -1), 'late'])
})

test('Meetings.meet() asks about so many names, and no more', async () => {
  const site = new Site(() => Promise.resolve(undefined))
  for (let at = 0; at < 2 * questionsMax; at++) await site.come(`made up ${at}`)
  assert.equal(site.asked.length, questionsMax)
})

for (const options of [{ kind: 'persistentCache' }, { pieceCount: 1 }] as const) {
  test(`Meetings.meet() meets nobody for content with ${JSON.stringify(options)}`, async () => {
    const site = new Site(known, options)
    await site.come('a')
    assert.deepEqual(site.asked, [])
  })
}

test('Meetings.meet() goes on when the scheduler cannot tell, and asks again when the child does', async () => {
  const answers = [Promise.reject(lost()), known('a')]
  const site = new Site(() => answers.shift() ?? Promise.resolve(undefined))
  await site.come('a')
  assert.deepEqual([site.met, site.broken], [[], []])
  await site.come('a')
  assert.deepEqual(site.met, ['a'])
})

test('Meetings.meet() hands on what is no word of a scheduler', async () => {
  const error = new PeerError('STORE_FAILED', 'Not of a scheduler', {
    path: '',
    operation: 'x',
    errno: '',
  })
  const site = new Site(() => Promise.reject(error))
  await site.come('a')
  assert.deepEqual(site.broken, [error])
})

test('Meetings.meet() tells nothing after the end', async () => {
  const site = new Site(known)
  site.meetings.meet('a')
  site.life.abort(new Error('over'))
  await site.come('b')
  assert.deepEqual([site.asked, site.met], [['a'], []])
})
