// @ts-check
/**
 * Plugin of typedoc. The fields of error details and of hook messages are described once, in the tables of errors.md and hooks.md
 * (a test compares them with the sources); this copies the descriptions to the API pages. Fields of other object types that stand inside a member are described
 * by the comment of that member: they need none of their own.
 */
import { readFileSync } from 'node:fs'
import { Comment, Converter, ReflectionKind } from 'typedoc'

/** Interface → page. */
const pages = { ErrorDetails: 'errors.md', HookMessages: 'hooks.md' }

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    for (const [name, page] of Object.entries(pages)) {
      const meanings = meaningsOf(readFileSync(new URL(page, import.meta.url), 'utf8'))
      const interfaces = project.getReflectionsByKind(ReflectionKind.Interface)
      const declared = interfaces.find((each) => each.name === name)
      if (!declared?.isDeclaration()) continue
      for (const member of declared.children ?? []) {
        const fields = member.type?.type === 'reflection' ? member.type.declaration.children : []
        for (const field of fields ?? []) {
          const text = meanings.get(`${member.name}.${field.name}`)
          if (text !== undefined) field.comment ??= new Comment([{ kind: 'text', text }])
        }
      }
    }
    const inner = project
      .getReflectionsByKind(ReflectionKind.Property)
      .filter(({ parent }) => parent?.kind === ReflectionKind.TypeLiteral)
      .filter(({ parent }) => parent?.parent?.kind !== ReflectionKind.Parameter)
    app.options.setValue(
      'intentionallyNotDocumented',
      inner.filter((field) => !field.hasComment()).map((field) => field.getFriendlyFullName()),
    )
  })
}

/**
 * `HEADING.field` → meaning.
 * @param {string} page
 */
function meaningsOf(page) {
  const meanings = new Map()
  let title = ''
  for (const line of page.split('\n')) {
    if (line.startsWith('### ')) title = line.slice(4).trim()
    const [, field, meaning] = /^\| `(\w+)` \| (.+) \|$/.exec(line) ?? []
    if (field !== undefined) meanings.set(`${title}.${field}`, meaning)
  }
  return meanings
}
