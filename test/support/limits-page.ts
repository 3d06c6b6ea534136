import { type LimitFact, limitFacts, readable } from './limit-facts.ts'

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
    const folder = limit.path.split('/')[1] ?? ''
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

function limits(files: ReadonlyMap<string, string>): readonly LimitFact[] {
  const ours = [...files].filter(
    ([path]) => path.startsWith('src/') && !path.startsWith('src/rpc/gen/'),
  )
  return limitFacts(new Map(ours))
}
