import { PeerError } from '../errors.ts'
import type { KeptTask } from '../storage/store.ts'
import type { Geometry } from '../task/piece.ts'
import type { Origin, OriginStat, Session, TaskSpec } from '../task/ports.ts'
import { abortable, Scope } from '../util/scope.ts'
import { canBeCut, checkedCut } from './cut.ts'
import { limitedOrigin } from './limited.ts'
import type { Live } from './live.ts'
import { knownCut } from './look-up.ts'
import type { DownloadLimits } from './options.ts'
import { recordOf } from './record.ts'
import { RunLimits } from './run-limits.ts'
import type { World } from './world.ts'

/** Times that a scheduler is asked for parents who know the length, at most: it could name those who do not without end. */
export const lengthQuestionsMax: number = 8
/** Longest wait for one answer, in milliseconds. An embedded scheduler has the others wait for up to 300 s while one peer reads the origin. */
export const lengthAnswerMsMax: number = 330_000
/** First pause before a scheduler that knew nobody is asked again, in milliseconds; each further one is twice as long. */
export const askPauseMs: number = 250
/** Longest such pause, in milliseconds. */
export const askPauseMsMax: number = 2000

/**
 * Content whose length nobody knows yet. The scheduler says who finds out: a peer that is sent to the origin takes everything in order and then knows;
 * the others wait until one does and get the length with their parents.
 *
 * @returns the complete task, or the geometry by which it can be fetched from others
 */
export async function spoolOrLearn(
  world: World,
  want: SpoolWant & { readonly needBackToSource: boolean },
  origin: Origin,
  stat: OriginStat,
  signal: AbortSignal,
): Promise<{ readonly task: KeptTask } | { readonly cut: Geometry }> {
  const { spec, needBackToSource } = want
  await world.announcements.settle(spec.id, signal)
  const session = world.scheduler.open({
    peerId: world.newPeerId(),
    spec,
    needBackToSource,
    backToSource: 'allow',
    metadataOnly: false,
    concurrency: world.limits.now.concurrency,
  })
  try {
    const length = await learn(world, spec, session, signal)
    if (length !== undefined) {
      // The run that follows registers itself, with the length.
      await session.finish({ is: 'failed', source: false, reason: 'Length is known now' })
      return { cut: await cutOf(world, spec, length, signal) }
    }
    session.sourceStarted()
    const task = await takeAll(world, want, origin, stat, signal)
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
 * The geometry of content that the origin must not be asked about: it comes with the first parents. A scheduler that knows nobody sends a peer to the origin at once, so
 * it is asked again, with growing pauses, until the time is over.
 *
 * @throws PeerError NO_PARENTS when nobody has it within `parentsTimeoutMs`
 */
export async function learnFromParents(
  world: World,
  spec: TaskSpec,
  signal: AbortSignal,
): Promise<Geometry> {
  const timeoutMs = world.limits.now.parentsTimeoutMs
  const { clock } = world
  const begin = clock.now()
  const nobody = (): PeerError =>
    new PeerError('NO_PARENTS', 'Nobody in the network has the content', {
      task: spec.id,
      tried: 0,
      waitedMs: Math.round(clock.now() - begin),
    })
  using scope = new Scope([signal], { timeoutMs, onTimeout: nobody, clock })
  await world.announcements.settle(spec.id, scope.signal)
  for (let pauseMs = askPauseMs; ; pauseMs = Math.min(pauseMs * 2, askPauseMsMax)) {
    const length = await askOnce(world, spec, scope.signal)
    if (length !== undefined) return await cutOf(world, spec, length, scope.signal)
    await abortable(new Promise<void>((resolve) => clock.after(pauseMs, resolve)), scope.signal)
  }
}

async function askOnce(
  world: World,
  spec: TaskSpec,
  signal: AbortSignal,
): Promise<number | undefined> {
  const session = world.scheduler.open({
    peerId: world.newPeerId(),
    spec,
    needBackToSource: false,
    backToSource: 'never',
    metadataOnly: false,
    concurrency: world.limits.now.concurrency,
  })
  try {
    return await learn(world, spec, session, signal)
  } finally {
    await session.finish({ is: 'failed', source: false, reason: 'Only the length was asked for' })
  }
}

/** How content of this length is cut. Who asks by id alone does not know whether a length was chosen, but the scheduler may have seen pieces by now. */
async function cutOf(
  world: World,
  spec: TaskSpec,
  length: number,
  signal: AbortSignal,
): Promise<Geometry> {
  if (spec.pieceLength !== undefined) return checkedCut(length, spec.pieceLength)
  const known = await knownCut(world, spec, signal)
  return known?.contentLength === length ? known : checkedCut(length)
}

/** The content length when parents are offered; undefined when this peer shall go to the origin, or no scheduler answers. */
async function learn(
  { clock }: World,
  { pieceLength }: TaskSpec,
  session: Session,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    for (let questions = 0; questions < lengthQuestionsMax; questions++) {
      using scope = new Scope([signal], { timeoutMs: lengthAnswerMsMax, onTimeout: silent, clock })
      const answer = await session.next(scope.signal)
      if (answer === undefined || answer.is !== 'parents') return undefined
      const { contentLength = 0 } = answer
      // Nobody is a parent of nothing: a Go scheduler says 0 where it does not know.
      if (contentLength > 0 && canBeCut(contentLength, pieceLength)) return contentLength
      session.reschedule(answer.parents, 'The length of the content is unknown')
    }
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    if (PeerError.is(error, 'SCHEDULER_UNAVAILABLE')) return undefined
    if (PeerError.is(error, 'SCHEDULER_REFUSED') && error.details.forbidden !== true) {
      return undefined
    }
    throw error
  }
}

function silent(): PeerError<'SCHEDULER_UNAVAILABLE'> {
  const reason = `no answer within ${lengthAnswerMsMax} ms`
  return new PeerError('SCHEDULER_UNAVAILABLE', `The scheduler is silent: ${reason}`, {
    addresses: [],
    reason,
  })
}

/** What one download wants of content whose length is unknown. */
interface SpoolWant {
  readonly spec: TaskSpec
  readonly limits?: Live<DownloadLimits>
}

async function takeAll(
  world: World,
  { spec, limits }: SpoolWant,
  origin: Origin,
  stat: OriginStat,
  signal: AbortSignal,
): Promise<KeptTask> {
  const spool = await world.store.spool()
  const own = new RunLimits(world)
  own.join(limits)
  try {
    const part = {
      offset: 0,
      ...(stat.validator === undefined ? {} : { validator: stat.validator }),
    }
    const limited = limitedOrigin(origin, own.pace)
    for await (const chunk of limited.read(part, signal)) await spool.write(chunk)
    signal.throwIfAborted()
    return await spool.finish(recordOf(spec, world.clock.date(), stat), spec.pieceLength)
  } finally {
    own.close()
    await spool.discard()
  }
}
