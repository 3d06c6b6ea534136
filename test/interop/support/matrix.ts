import { appendFileSync } from 'node:fs'
import test, { type TestContext } from 'node:test'
import type { Traffic } from '../../../src/index.ts'
import type { Origin } from '../../support/origin.ts'
import { contentBytes } from '../../e2e/support/swarm.ts'
import type { DaemonTraffic } from './daemon-program.ts'

/** Names the file to which each case adds a line of JSON, a `CaseResult`. */
export const resultsVariable = 'DRAGONFLY_INTEROP_RESULTS'

/** What a case of the matrix came to. */
export interface CaseResult {
  readonly row: number
  readonly case: string
  readonly result: 'passed' | 'failed'
  /** Of the transfer, where the case says so, else of the whole case. */
  readonly tookMs: number
  /** Requests for content, without those that only ask about it. Undefined: there is no origin. */
  readonly originRequests?: number
  readonly originBytes?: number
  /** Who got how many bytes from where. */
  readonly traffic: string
}

/** What a case says of itself while it runs. */
export class CaseFacts {
  readonly #traffic: string[] = []
  #origin: { readonly requests: number; readonly bytes: number } | undefined
  #tookMs: number | undefined

  /** How long the transfer took. */
  took(ms: number): void {
    this.#tookMs = ms
  }

  /** Measures the transfer. */
  async time<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now()
    const result = await work()
    this.took(performance.now() - start)
    return result
  }

  /** What the origin of the case has sent until now. */
  origin(served: Origin): void {
    const requests = served.requests.filter(({ kind }) => kind !== 'stat').length
    this.#origin = { requests, bytes: contentBytes(served) }
  }

  /** Where somebody's bytes came from, as we or a daemon count them. */
  traffic(who: string, { source, peers, local }: Traffic | DaemonTraffic): void {
    const parts = Object.entries({ source, peers, local }).filter(([, bytes]) => bytes > 0)
    this.#traffic.push(`${who}: ${parts.map((part) => part.join(' ')).join(', ') || 'nothing'}`)
  }

  /** Anything else that belongs into the table. */
  note(text: string): void {
    this.#traffic.push(text)
  }

  /** The line of the table. */
  result(row: number, name: string, passed: boolean, wholeMs: number): CaseResult {
    return {
      row,
      case: name,
      result: passed ? 'passed' : 'failed',
      tookMs: Math.round(this.#tookMs ?? wholeMs),
      ...(this.#origin === undefined
        ? {}
        : { originRequests: this.#origin.requests, originBytes: this.#origin.bytes }),
      traffic: this.#traffic.join('; '),
    }
  }
}

/** A test that is a case of the matrix: a row of docs/interop.md with its number, and what is done. */
export function matrixTest(
  row: number,
  name: string,
  body: (t: TestContext, facts: CaseFacts) => Promise<void>,
): void {
  void test(`Row ${row}: ${name}`, async (t) => {
    const facts = new CaseFacts()
    const start = performance.now()
    const record = (passed: boolean): void => {
      const path = process.env[resultsVariable]
      if (path === undefined) return
      const result = facts.result(row, name, passed, performance.now() - start)
      appendFileSync(path, `${JSON.stringify(result)}\n`)
    }
    try {
      await body(t, facts)
    } catch (error) {
      record(false)
      throw error
    }
    record(true)
  })
}
