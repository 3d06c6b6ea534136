import ts from 'typescript'
import { cConstants } from './c-constants.ts'

/**
 * A number that bounds something: a constant of a module, or a property of a constant object, whose name ends in `Max`; in C one whose name ends in `_MAX`, or in `_BYTES`, which is how
 * long a buffer is.
 */
export interface LimitFact {
  /** `name`, or `object.name`. */
  readonly name: string
  readonly value: number
  /** Its file, below the project root. */
  readonly path: string
  /** What stands in the comment before it, in one line. */
  readonly meaning: string
}

/**
 * All limits of these files, in order. A value may be computed from numbers and other constants of the same file.
 *
 * @throws Error when one of a C file cannot be computed: there each is a number
 */
export function limitFacts(files: ReadonlyMap<string, string>): readonly LimitFact[] {
  return [...files].flatMap(([path, text]) => {
    const ofC = isC(path)
    const source = ofC ? cConstants(text) : text
    const file = ts.createSourceFile(`${path}.ts`, source, ts.ScriptTarget.Latest, true)
    const constants = constantsOf(file)
    return candidatesOf(file).flatMap(({ name, value, meaning }) => {
      const number = evaluate(value, constants)
      if (number !== undefined) return [{ name, value: number, path, meaning }]
      if (ofC) throw new Error(`${name} in ${path} is ${value.getText()}: nobody can compute it`)
      return []
    })
  })
}

/** A source of an addon. */
export function isC(path: string): boolean {
  return /\.[ch]$/.test(path)
}

interface Candidate {
  readonly name: string
  readonly value: ts.Expression
  readonly meaning: string
}

function candidatesOf(file: ts.SourceFile): Candidate[] {
  const found: Candidate[] = []
  const described = memberComments(file)
  for (const statement of file.statements.filter(ts.isVariableStatement)) {
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (!ts.isIdentifier(name) || initializer === undefined) continue
      const value = plain(initializer)
      if (/(Max|_MAX|_BYTES)$/.test(name.text)) {
        found.push({ name: name.text, value, meaning: commentBefore(statement) })
      }
      if (!ts.isObjectLiteralExpression(value)) continue
      for (const property of value.properties.filter(ts.isPropertyAssignment)) {
        if (!ts.isIdentifier(property.name) || !property.name.text.endsWith('Max')) continue
        const key = property.name.text
        found.push({
          name: `${name.text}.${key}`,
          value: plain(property.initializer),
          meaning: commentBefore(property) || (described.get(key) ?? ''),
        })
      }
    }
  }
  return found
}

function constantsOf(file: ts.SourceFile): ReadonlyMap<string, ts.Expression> {
  const constants = new Map<string, ts.Expression>()
  for (const statement of file.statements.filter(ts.isVariableStatement)) {
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (ts.isIdentifier(name) && initializer !== undefined) constants.set(name.text, initializer)
    }
  }
  return constants
}

/** An object of defaults usually has its comments at the type of the options. */
function memberComments(file: ts.SourceFile): ReadonlyMap<string, string> {
  const comments = new Map<string, string>()
  for (const declared of file.statements.filter(ts.isInterfaceDeclaration)) {
    for (const member of declared.members.filter(ts.isPropertySignature)) {
      if (ts.isIdentifier(member.name)) comments.set(member.name.text, commentBefore(member))
    }
  }
  return comments
}

/** A number as people read it: 64 KiB, 5 s, 1 048 576. */
export function readable(name: string, value: number): string {
  const timed = /Ms(Max)?$/.test(name)
  const units: readonly (readonly [number, string])[] = timed
    ? [
        [86_400_000, 'd'],
        [3_600_000, 'h'],
        [60_000, 'min'],
        [1000, 's'],
        [1, 'ms'],
      ]
    : [
        [1024 ** 4, 'TiB'],
        [1024 ** 3, 'GiB'],
        [1024 ** 2, 'MiB'],
        [1024, 'KiB'],
      ]
  const bytes = timed || /bytes|pieceLength/i.test(name)
  const unit = bytes ? units.find(([each]) => value >= each && value % each === 0) : undefined
  if (unit !== undefined) return `${value / unit[0]} ${unit[1]}`
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ' ')
}

/** Without `as const`, `satisfies`, parentheses and `Object.freeze()`. */
function plain(value: ts.Expression): ts.Expression {
  if (
    ts.isAsExpression(value) ||
    ts.isSatisfiesExpression(value) ||
    ts.isParenthesizedExpression(value)
  ) {
    return plain(value.expression)
  }
  const [first] = ts.isCallExpression(value) ? value.arguments : []
  return first === undefined ? value : plain(first)
}

function evaluate(
  value: ts.Expression,
  constants: ReadonlyMap<string, ts.Expression>,
): number | undefined {
  const inner = plain(value)
  if (ts.isNumericLiteral(inner)) return Number(inner.text.replaceAll('_', ''))
  if (ts.isIdentifier(inner)) {
    const known = constants.get(inner.text)
    return known === undefined ? undefined : evaluate(known, constants)
  }
  if (!ts.isBinaryExpression(inner)) return undefined
  const left = evaluate(inner.left, constants)
  const right = evaluate(inner.right, constants)
  if (left === undefined || right === undefined) return undefined
  switch (inner.operatorToken.kind) {
    case ts.SyntaxKind.PlusToken:
      return left + right
    case ts.SyntaxKind.MinusToken:
      return left - right
    case ts.SyntaxKind.AsteriskToken:
      return left * right
    case ts.SyntaxKind.AsteriskAsteriskToken:
      return left ** right
    case ts.SyntaxKind.SlashToken:
      return left / right
    case ts.SyntaxKind.LessThanLessThanToken:
      return left << right
    default:
      return undefined
  }
}

/** The text of the comment that stands directly before a node, in one line; what follows a TSDoc tag is left out. */
function commentBefore(node: ts.Node): string {
  const text = node.getSourceFile().text
  const ranges = ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []
  const last = ranges.at(-1)
  if (last === undefined) return ''
  const lines = ranges.filter(({ kind }) => kind === ts.SyntaxKind.SingleLineCommentTrivia)
  const block = last.kind === ts.SyntaxKind.MultiLineCommentTrivia
  return (block ? [last] : lines)
    .map(({ pos, end }) => text.slice(pos, end))
    .join('\n')
    .replaceAll(/^\s*(\/\*\*?|\/\/|\*(?!\/))|\*\/\s*$/gm, '')
    .replace(/\s@(defaultValue|remarks|see|example)[^]*$/, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
