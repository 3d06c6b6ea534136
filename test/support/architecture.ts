import { basename, posix } from 'node:path'
import { type SourceFacts, sourceFacts } from './source-facts.ts'

/** Who may import whom, as data. A place is a folder or a file below `src`. */
export interface Architecture {
  /** For each folder, and each file directly in `src`, the places it may import from. Its own folder always is one. */
  readonly may: Readonly<Record<string, readonly string[]>>
  /** Places of which only types may be imported, beside those in `may`. */
  readonly mayTypes: Readonly<Record<string, readonly string[]>>
  /** For each package the places that may import it. A package that is not here may be imported nowhere. */
  readonly packages: Readonly<Record<string, readonly string[]>>
  /** Folders without sockets, files and clocks. */
  readonly pure: readonly string[]
  /** Folders of generated code: their imports are checked, their shape is not. */
  readonly generated: readonly string[]
  /** Most lines of a file. */
  readonly linesMax: number
}

/** Names that say nothing about what a file owns. */
const emptyNames = ['utils.ts', 'helpers.ts', 'types.ts', 'index.ts']

/** Modules of Node that touch the world outside, or time. */
const impureModules =
  /^node:(fs|net|http|https|http2|tls|dgram|dns|child_process|worker_threads|timers|cluster)(\/|$)/

/** Globals that do the same. */
const impureNames = [
  ...['setTimeout', 'setInterval', 'setImmediate', 'fetch'],
  ...['Date.now', 'new Date', 'performance.now', 'Math.random'],
]

/**
 * What breaks the architecture, one sentence for each fault, in the order of the files. `files` maps paths below the project root, such as
 * `src/task/piece.ts`, to their text.
 */
export function faults(
  files: ReadonlyMap<string, string>,
  architecture: Architecture,
): readonly string[] {
  const found: string[] = []
  const graph = new Map<string, readonly string[]>()
  for (const [path, text] of files) {
    const facts = sourceFacts(path, text)
    const generated = architecture.generated.some((folder) => path.startsWith(`${folder}/`))
    if (!generated) found.push(...shapeFaults(path, text, facts, architecture.linesMax))
    if (!path.startsWith('src/')) continue
    const place = path.slice('src/'.length)
    found.push(...importFaults(place, facts, architecture))
    graph.set(
      place,
      facts.imports.filter(isRelative).map(({ from }) => resolve(place, from)),
    )
    const impure = architecture.pure.includes(folderOf(place)) ? impureNames : []
    for (const name of impure.filter((each) => facts.names.has(each))) {
      found.push(`${path} uses ${name}, which has to come as an argument`)
    }
  }
  return [...found, ...circles(graph)]
}

function shapeFaults(path: string, text: string, facts: SourceFacts, linesMax: number): string[] {
  const found: string[] = []
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  if (lines > linesMax) found.push(`${path} has ${lines} lines, more than ${linesMax}`)
  if (emptyNames.includes(basename(path)) && path !== 'src/index.ts') {
    found.push(`${path} has a name that does not say what it owns`)
  }
  if (!path.startsWith('src/')) return found
  if (facts.defaultExport) found.push(`${path} has a default export`)
  for (const name of facts.names) {
    if (name.startsWith('console.')) found.push(`${path} uses ${name}`)
  }
  return found
}

function importFaults(place: string, facts: SourceFacts, architecture: Architecture): string[] {
  const folder = folderOf(place)
  const may = architecture.may[folder]
  if (may === undefined) return [`src/${place} lies in ${folder}, which has no row in the table`]
  const mayTypes = architecture.mayTypes[folder] ?? []
  const found: string[] = []
  for (const { from, typeOnly } of facts.imports) {
    const fault = (why: string): void => void found.push(`src/${place} imports ${from}: ${why}`)
    if (from.startsWith('node:')) {
      const pure = architecture.pure.includes(folder)
      if (pure && impureModules.test(from)) fault('this folder has no sockets, files or clocks')
    } else if (!isRelative({ from })) {
      const where = architecture.packages[packageOf(from)]
      if (where === undefined) fault('this package has no row in the table')
      else if (!within(place, where)) fault(`only ${where.join(', ')} may`)
    } else {
      const target = resolve(place, from)
      if (target.startsWith('../')) fault('it lies outside of src')
      else if (folderOf(target) === folder || within(target, may)) continue
      else if (!within(target, mayTypes)) fault(`${folder} may not import ${target}`)
      else if (!typeOnly) fault(`${folder} may import only types of it`)
    }
  }
  return found
}

/** Each circle of imports once, beginning with the file that comes first. Types count: files that need each other are one file in two places. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>()
  const finished = new Set<string>()
  const path: string[] = []
  const visit = (file: string): void => {
    const start = path.indexOf(file)
    if (start >= 0) {
      const circle = path.slice(start)
      const first = circle.indexOf(circle.toSorted()[0] ?? '')
      const turned = [...circle.slice(first), ...circle.slice(0, first)]
      found.add(`Circle: ${[...turned, turned[0]].join(' → ')}`)
      return
    }
    if (finished.has(file)) return
    path.push(file)
    for (const next of graph.get(file) ?? []) visit(next)
    path.pop()
    finished.add(file)
  }
  for (const file of graph.keys()) visit(file)
  return [...found]
}

/** The folder directly below `src`, or the file when it lies in `src` itself. */
function folderOf(place: string): string {
  return place.split('/')[0] ?? place
}

function within(place: string, places: readonly string[]): boolean {
  return places.some((each) => place === each || place.startsWith(`${each}/`))
}

function isRelative({ from }: { readonly from: string }): boolean {
  return from.startsWith('.')
}

function resolve(place: string, from: string): string {
  return posix.join(posix.dirname(place), from)
}

function packageOf(from: string): string {
  return from.split('/', from.startsWith('@') ? 2 : 1).join('/')
}
