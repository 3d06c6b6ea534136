import { messageTargets } from './message-targets.ts'
import { pieceTargets } from './piece-targets.ts'
import { recordTargets } from './record-targets.ts'
import type { Target } from './target.ts'
import { textTargets } from './text-targets.ts'

/** Everything that takes apart what comes from a network or a disk. */
export const targets: readonly Target[] = [
  ...pieceTargets,
  ...messageTargets,
  ...recordTargets,
  ...textTargets,
]
