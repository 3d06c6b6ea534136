/** What a benchmark is. `bench/run.ts` has the list of them. */

/** One line of the table, and one object of `--json`. */
export interface Row {
  /** What was measured, for example `one parent to a file`. */
  readonly name: string
  /** Ours: the median of the runs. */
  readonly value: number
  /** Of both values, for example `MiB/s`, `CPU s/GiB`, `MiB`, `ms`, `rounds`. */
  readonly unit: string
  /** The program, or the bound, that ours is compared with. */
  readonly reference: string
  /** Its median in the same minutes, or the bound. */
  readonly referenceValue: number
  /** `value / referenceValue`. */
  readonly ratio: number
  /** As a reader sees it, for example `ratio ≥ 0.9`. Empty for a row that is only told. */
  readonly goal: string
  /** Whether the goal is reached; `undefined` without a goal. */
  readonly holds: boolean | undefined
  /** Minimum and maximum of the runs, ours and the reference's, where there were several. */
  readonly range?: readonly [number, number]
  readonly referenceRange?: readonly [number, number]
  /** What stands in the way of a goal, or how to read the row. */
  readonly note?: string
}

/** What a benchmark is run with. */
export interface Settings {
  /** Less of everything: all benchmarks together end within a minute. What cannot be that short is a row that says `not in --quick`. */
  readonly quick: boolean
  /** Measured runs of each side. @defaultValue `7`, and `2` when quick */
  readonly runs?: number
  /** Bytes of the content that is moved. @defaultValue what suits the benchmark */
  readonly bytes?: number
  /** An empty folder for files; removed afterwards. */
  readonly folder: string
  /** Tells what goes on; a line each. */
  readonly say: (line: string) => void
}

/** One benchmark. It ends what it started, also when it fails. */
export interface Benchmark {
  /** Chosen by `--only`. */
  readonly name: string
  /** What it measures, in a sentence. */
  readonly about: string
  readonly run: (settings: Settings) => Promise<readonly Row[]>
}
