import ts from 'typescript'

/** One import or re-export of a module. */
export interface ImportFact {
  /** What stands in quotes. */
  readonly from: string
  /** Whether it vanishes when compiled. */
  readonly typeOnly: boolean
}

/** What the rules of the architecture ask about one source file. */
export interface SourceFacts {
  /** Static, dynamic and type imports, and re-exports. */
  readonly imports: readonly ImportFact[]
  /** Whether there is a default export. */
  readonly defaultExport: boolean
  /** Names as they are used in code, with one member: `console.log`, `Date.now`, `setTimeout`. */
  readonly names: ReadonlySet<string>
}

/** Reads a file with the parser of TypeScript, so that comments, strings and examples in comments do not count. */
export function sourceFacts(path: string, text: string): SourceFacts {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false)
  const imports: ImportFact[] = []
  const names = new Set<string>()
  let defaultExport = false
  const visit = (node: ts.Node): void => {
    const found = importOf(node)
    if (found !== undefined) imports.push(found)
    if (isDefaultExport(node)) defaultExport = true
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      names.add(`${node.expression.text}.${node.name.text}`)
    }
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
      names.add(node.expression.text)
    }
    if (ts.isNewExpression(node) && ts.isIdentifier(node.expression)) {
      names.add(`new ${node.expression.text}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return { imports, defaultExport, names }
}

function importOf(node: ts.Node): ImportFact | undefined {
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    return { from: node.moduleSpecifier.text, typeOnly: onlyTypes(node.importClause) }
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
    const from = node.moduleSpecifier
    if (!ts.isStringLiteral(from)) return undefined
    const named = node.exportClause
    const elements = named !== undefined && ts.isNamedExports(named) ? named.elements : []
    const each = elements.length > 0 && elements.every((element) => element.isTypeOnly)
    return { from: from.text, typeOnly: node.isTypeOnly || each }
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    const { literal } = node.argument
    return ts.isStringLiteral(literal) ? { from: literal.text, typeOnly: true } : undefined
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [from] = node.arguments
    return from !== undefined && ts.isStringLiteral(from)
      ? { from: from.text, typeOnly: false }
      : undefined
  }
  return undefined
}

/** `import type …`, or braces in which each name is marked as a type. */
function onlyTypes(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const { name, namedBindings } = clause
  if (name !== undefined || namedBindings === undefined) return false
  if (!ts.isNamedImports(namedBindings)) return false
  const { elements } = namedBindings
  return elements.length > 0 && elements.every((element) => element.isTypeOnly)
}

function isDefaultExport(node: ts.Node): boolean {
  if (ts.isExportAssignment(node)) return true
  if (ts.isExportSpecifier(node)) return node.name.text === 'default'
  if (!ts.canHaveModifiers(node)) return false
  return (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
}
