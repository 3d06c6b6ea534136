import type { Download } from '../../rpc/gen/common/v2/common_pb.ts'
import { unsupported } from './failure.ts'

/** What a tool says about reaching an object store or a model hub. */
export type Hints = Pick<
  Download,
  'objectStorage' | 'hdfs' | 'huggingFace' | 'modelScope' | 'openCsg'
>

/** What tools send without being asked, and what changes nothing for a source. */
const harmless: Readonly<Record<string, readonly string[]>> = {
  predefinedAcl: ['publicRead'],
  revision: ['', 'main', 'master'],
}

/**
 * Sources know by themselves how to reach their content, so there is nowhere to pass these on to. Without them something else might be fetched than what was
 * asked for, or with the rights of somebody else: a request that needs them is refused. The values are secret and are not repeated.
 *
 * @throws ConnectError Unimplemented that names the field
 */
export function refuseHints(hints: Hints): void {
  for (const group of ['objectStorage', 'hdfs', 'huggingFace', 'modelScope', 'openCsg'] as const) {
    for (const [name, value] of Object.entries(hints[group] ?? {})) {
      if (name.startsWith('$') || isHarmless(name, value)) continue
      throw unsupported(`${group}.${name} cannot be passed on to a source: set it up there`)
    }
  }
}

function isHarmless(name: string, value: unknown): boolean {
  if (value === undefined || value === '' || value === false) return true
  return typeof value === 'string' && (harmless[name]?.includes(value) ?? false)
}
