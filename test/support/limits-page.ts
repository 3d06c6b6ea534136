import { isC, type LimitFact, limitFacts, readable } from './limit-facts.ts'

/** The generated part of `docs/limits.md` stands between these. */
const begin = '<!-- made by `npm run docs:limits` -->'
const end = '<!-- end -->'

/** The page with its tables made anew from the sources; everything around them stays. */
export function limitsPage(page: string, files: ReadonlyMap<string, string>): string {
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from) throw new Error(`docs/limits.md has no ${begin} … ${end}`)
  return `${page.slice(0, from)}${begin}\n\n${tables(files)}\n${page.slice(to)}`
}

/** Limits without a comment: nobody can say what they are for. */
export function unexplained(files: ReadonlyMap<string, string>): readonly string[] {
  return limits(files)
    .filter(({ meaning }) => meaning === '')
    .map(({ name, path }) => `${name} in ${path} needs a comment`)
}

function tables(files: ReadonlyMap<string, string>): string {
  const folders = new Map<string, LimitFact[]>()
  for (const limit of limits(files)) {
    const folder = folderOf(limit.path)
    folders.set(folder, [...(folders.get(folder) ?? []), limit])
  }
  const head = '| limit | value | where | meaning |\n| --- | --- | --- | --- |\n'
  return [...folders]
    .map(([folder, rows]) => `### ${folder}\n\n${head}${rows.map(row).join('')}`)
    .join('\n')
}

function row({ name, value, path, meaning }: LimitFact): string {
  const cells = [
    `\`${name}\``,
    readable(name, value),
    `\`${path}\``,
    meaning.replaceAll('|', '\\|'),
  ]
  return `| ${cells.join(' | ')} |\n`
}

/** The sources of `src` by folder, those of the addons after them. */
function folderOf(path: string): string {
  const [top = '', folder = ''] = path.split('/')
  return top === 'native' ? `${top}/${folder}` : folder
}

function limits(files: ReadonlyMap<string, string>): readonly LimitFact[] {
  const all = [...files]
  const ours = all.filter(
    ([path]) => path.startsWith('src/') && path.endsWith('.ts') && !path.startsWith('src/rpc/gen/'),
  )
  const native = all.filter(
    ([path]) => path.startsWith('native/') && !path.startsWith('native/test/') && isC(path),
  )
  return limitFacts(new Map([...ours, ...native])).filter(({ name }) => !shapes.has(name))
}

/** How many arguments a function of the addon takes, at most: nothing that grows. */
const shapes: ReadonlySet<string> = new Set(['ARGUMENTS_MAX'])
