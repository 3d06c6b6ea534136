import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { sourceFacts } from './source-facts.ts'

/**
 * A `ts` block of a TSDoc comment or of a page.
 *
 * One that imports `dragonfly-peer` is a program of a user: it has to compile against the built package. If its fence says `ts runnable` it is run as well.
 * One without that import shows an internal thing and only has to be correct syntax.
 */
export interface DocExample {
  /** File and line of the fence. */
  readonly place: string
  readonly code: string
  readonly runnable: boolean
}

/** The package name that users import. */
const packageName = 'dragonfly-peer'

/** All `ts` blocks of a source file (in its doc comments) or of a page, in order. */
export function docExamples(path: string, text: string): readonly DocExample[] {
  const parts = path.endsWith('.md') ? [{ at: 0, text }] : docComments(text)
  return parts.flatMap((part) =>
    [...part.text.matchAll(/^```ts( runnable)?\n([^]*?)^```$/gm)].map((match) => ({
      place: `${path}:${lineOf(text, part.at) + lineOf(part.text, match.index) - 1}`,
      code: match[2] ?? '',
      runnable: match[1] !== undefined,
    })),
  )
}

/** Whether it is a program of a user. */
export function isProgram({ code }: DocExample): boolean {
  return sourceFacts('example.ts', code).imports.some(({ from }) => from === packageName)
}

/** What keeps an example from being run by itself, if it asks for that. */
export function notSelfContained(example: DocExample): readonly string[] {
  if (!example.runnable) return []
  const imported = sourceFacts('example.ts', example.code).imports.map(({ from }) => from)
  if (!imported.includes(packageName)) return [`${example.place} does not import ${packageName}`]
  return imported
    .filter((from) => from !== packageName && !from.startsWith('node:'))
    .map((from) => `${example.place} imports ${from}`)
}

/** Faults of syntax. */
export function syntaxFaults(example: DocExample): readonly string[] {
  const { diagnostics = [] } = ts.transpileModule(example.code, {
    reportDiagnostics: true,
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  })
  return diagnostics.map((diagnostic) => sentence(example, diagnostic))
}

/** An example as a JavaScript file, or what the compiler says against it. */
export interface Compiled {
  readonly example: DocExample
  readonly faults: readonly string[]
  readonly script: string
}

/**
 * Compiles programs with the options of the project into `folder`. That folder has to lie in the project, so that the package's own name leads to `dist`,
 * as it does for those who installed it.
 */
export function compilePrograms(
  root: string,
  folder: string,
  examples: readonly DocExample[],
): readonly Compiled[] {
  const files = examples.map((example, at) => {
    const path = join(folder, `example-${at}.ts`)
    // Without an export a file with no import would be a script and share its names with the others.
    writeFileSync(path, `${example.code}\nexport {}\n`)
    return { example, path }
  })
  const program = ts.createProgram(
    files.map(({ path }) => path),
    optionsOf(root),
  )
  program.emit()
  return files.map(({ example, path }) => {
    const source = program.getSourceFile(path)
    const diagnostics = source === undefined ? [] : ts.getPreEmitDiagnostics(program, source)
    const faults = diagnostics.map((diagnostic) => sentence(example, diagnostic))
    return { example, faults, script: path.replace(/ts$/, 'js') }
  })
}

function optionsOf(root: string): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path))
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  // Left out: what is for building this project, and unused names, which examples are full of.
  const { outDir: _o, rootDir: _r, tsBuildInfoFile: _t, ...rest } = options
  return {
    ...rest,
    ...{ incremental: false, declaration: false, isolatedDeclarations: false, sourceMap: false },
    ...{ noUnusedLocals: false, noUnusedParameters: false },
  }
}

function sentence(example: DocExample, diagnostic: ts.Diagnostic): string {
  const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')
  const line = lineOf(diagnostic.file?.text ?? '', diagnostic.start ?? 0)
  return `${example.place}, line ${line}: ${message}`
}

/** The doc comments of a source, without their stars. */
function docComments(text: string): { readonly at: number; readonly text: string }[] {
  return [...text.matchAll(/\/\*\*[^]*?\*\//g)].map((match) => ({
    at: match.index,
    text: match[0].replaceAll(/^[ \t]*\*[ \t]?/gm, ''),
  }))
}

/** How many lines come before, plus one. */
function lineOf(text: string, at: number): number {
  return text.slice(0, at).split('\n').length
}
