import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A configuration: nested plain objects. */
export interface Config {
  readonly [key: string]: ConfigValue
}

/** A value in a configuration. */
export type ConfigValue = string | number | boolean | Config | readonly ConfigValue[]

/** Both together; where both have a value, the second counts. Lists are not joined. */
export function merged(base: Config, more: Config): Config {
  const result: Record<string, ConfigValue> = { ...base }
  for (const [key, value] of Object.entries(more)) {
    const below = result[key]
    result[key] = isConfig(below) && isConfig(value) ? merged(below, value) : value
  }
  return result
}

/** Writes it where the programs read YAML, of which JSON is a part. Gives the path. */
export function writeConfig(folder: string, name: string, config: Config): string {
  const path = join(folder, name)
  writeFileSync(path, JSON.stringify(config, undefined, 2))
  return path
}

function isConfig(value: ConfigValue | undefined): value is Config {
  return typeof value === 'object' && !Array.isArray(value)
}
