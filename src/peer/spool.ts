import { PeerError } from '../errors.ts'
import type { KeptTask } from '../storage/store.ts'
import { type Geometry, geometry } from '../task/piece.ts'
import type { Origin, OriginStat, Session, TaskSpec } from '../task/ports.ts'
import { Scope } from '../util/scope.ts'
import { limitedOrigin } from './limited.ts'
import { recordOf } from './record.ts'
import type { World } from './world.ts'

/**
 * Content whose length nobody knows yet. The scheduler says who finds out: a peer that is sent to the origin takes everything in order and then knows;
 * the others wait until one does and get the length with their parents.
 *
 * @returns the complete task, or the geometry by which it can be fetched from others
 */
export async function spoolOrLearn(
  world: World,
  want: { readonly spec: TaskSpec; readonly needBackToSource: boolean },
  origin: Origin,
  stat: OriginStat,
  signal: AbortSignal,
): Promise<{ readonly task: KeptTask } | { readonly cut: Geometry }> {
  const { spec, needBackToSource } = want
  const session = world.scheduler.open({
    peerId: world.newPeerId(),
    spec,
    needBackToSource,
    backToSource: 'allow',
    metadataOnly: false,
    concurrency: world.settings.limits.concurrency,
  })
  try {
    const length = await learn(session, signal)
    if (length !== undefined) {
      // The run that follows registers itself, with the length.
      await session.finish({ is: 'failed', source: false, reason: 'Length is known now' })
      return { cut: geometry(length, spec.pieceLength) }
    }
    session.sourceStarted()
    const task = await takeAll(world, spec, origin, stat, signal)
    await session.finish({ is: 'done', source: true })
    await world.announcements.announce(task)
    return { task }
  } catch (error) {
    const reason = PeerError.is(error) ? error.code : 'ABORTED'
    await session.finish({ is: 'failed', source: true, reason })
    throw error
  }
}

/**
 * The geometry of content that the origin must not be asked about: it comes with the first parents.
 *
 * @throws PeerError NO_PARENTS when nobody has it within `parentsTimeoutMs`
 */
export async function learnFromParents(
  world: World,
  spec: TaskSpec,
  signal: AbortSignal,
): Promise<Geometry> {
  const timeoutMs = world.settings.limits.parentsTimeoutMs
  const nobody = (): PeerError =>
    new PeerError('NO_PARENTS', 'Nobody in the network has the content', {
      task: spec.id,
      tried: 0,
      waitedMs: timeoutMs,
    })
  using scope = new Scope([signal], { timeoutMs, onTimeout: nobody, clock: world.clock })
  const session = world.scheduler.open({
    peerId: world.newPeerId(),
    spec,
    needBackToSource: false,
    backToSource: 'never',
    metadataOnly: false,
    concurrency: world.settings.limits.concurrency,
  })
  try {
    const length = await learn(session, scope.signal)
    if (length === undefined) throw nobody()
    return geometry(length, spec.pieceLength)
  } finally {
    await session.finish({ is: 'failed', source: false, reason: 'Only the length was asked for' })
  }
}

/** The content length when parents are offered; undefined when this peer shall go to the origin, or no scheduler answers. */
async function learn(session: Session, signal: AbortSignal): Promise<number | undefined> {
  try {
    for (;;) {
      const answer = await session.next(signal)
      if (answer === undefined || answer.is !== 'parents') return undefined
      if (answer.contentLength !== undefined) return answer.contentLength
      session.reschedule(answer.parents, 'The length of the content is unknown')
    }
  } catch (error) {
    signal.throwIfAborted()
    if (PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED')) return undefined
    throw error
  }
}

async function takeAll(
  world: World,
  spec: TaskSpec,
  origin: Origin,
  stat: OriginStat,
  signal: AbortSignal,
): Promise<KeptTask> {
  const spool = await world.store.spool()
  try {
    const part = {
      offset: 0,
      ...(stat.validator === undefined ? {} : { validator: stat.validator }),
    }
    const limited = limitedOrigin(origin, world.downloadGate)
    for await (const chunk of limited.read(part, signal)) await spool.write(chunk)
    signal.throwIfAborted()
    return await spool.finish(recordOf(spec, world.clock.date(), stat), spec.pieceLength)
  } finally {
    await spool.discard()
  }
}
