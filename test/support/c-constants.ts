/** A comment, a string, a directive, a word or number, a shift, or one other sign. */
const tokens =
  /\/\*[^]*?\*\/|\/\/.*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])+'|#.*(?:\\\n.*)*|[\w.]+|<<|\S/g

interface Token {
  readonly text: string
  /** It stands in the line of the one before it. */
  readonly beside: boolean
}

/** A constant, before it is written as TypeScript. */
interface Constant {
  readonly name: string
  readonly value: string
  comment: string
}

/**
 * The constants of a C source, as declarations of TypeScript with their comments: members of an `enum` that have a value, and `#define NAME value`. A member without a comment of
 * its own has that of the one before it, the first one that of the `enum`: what stands together is explained together.
 */
export function cConstants(text: string): string {
  const found: Constant[] = []
  const list = tokensOf(text)
  let comment = ''
  for (let at = 0; at < list.length; at++) {
    const token = list[at]?.text ?? ''
    const defined = /^#\s*define\s+(\w+)\s+(.+)$/.exec(token.replaceAll(/\/\*.*?\*\/|\/\/.*/g, ''))
    const [, name, value] = defined ?? []
    if (name !== undefined && value !== undefined) found.push({ name, value, comment })
    const open = token === 'enum' ? bodyAt(list, at) : undefined
    if (open !== undefined) {
      const end = list.findIndex((each, place) => place > open && each.text === '}')
      found.push(...members(list.slice(open + 1, end), comment))
      at = end
    }
    comment = isComment(token) ? token : ''
  }
  return found.map(declaration).join('\n')
}

function tokensOf(text: string): readonly Token[] {
  let end = 0
  return [...text.matchAll(tokens)].map(({ 0: token, index }) => {
    const beside = !text.slice(end, index).includes('\n')
    end = index + token.length
    return { text: token, beside }
  })
}

/** Where the body of this `enum` opens; undefined when it has none: a type that is used. */
function bodyAt(list: readonly Token[], at: number): number | undefined {
  if (list[at + 1]?.text === '{') return at + 1
  return list[at + 2]?.text === '{' ? at + 2 : undefined
}

function members(body: readonly Token[], before: string): readonly Constant[] {
  const found: Constant[] = []
  let comment = before
  let words: string[] = []
  const end = (): void => {
    const [name, equals, ...value] = words
    if (name !== undefined && equals === '=') {
      found.push({ name, value: value.join(' '), comment })
    }
    words = []
  }
  for (const { text, beside } of body) {
    const last = found.at(-1)
    if (text === ',') end()
    else if (!isComment(text)) words.push(text)
    else if (beside && words.length === 0 && last !== undefined) last.comment = text
    else comment = text
  }
  end()
  return found
}

function isComment(token: string): boolean {
  return token.startsWith('/*') || token.startsWith('//')
}

/** Without the letters behind numbers: TypeScript has none. */
function declaration({ name, value, comment }: Constant): string {
  const plain = value.trim().replaceAll(/\b(0x[\da-f]+|\d[\d.]*)[ul]+\b/gi, '$1')
  return `${comment}\nconst ${name} = ${plain}`
}
