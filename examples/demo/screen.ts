import type { WriteStream } from 'node:tty'

/** Milliseconds between two drawings. */
const drawEveryMs = 50
/** Characters of a full bar. */
const barWidth = 32

/** How far each peer is: bars that move on a terminal, else a line for every tenth. */
export class Screen {
  readonly #out: WriteStream
  readonly #names: readonly string[]
  readonly #bytesTotal: number | undefined
  readonly #bytes: number[]
  readonly #tenths: number[]
  #drawnAt = Number.NEGATIVE_INFINITY
  #drawn = false

  /** @param bytesTotal - bytes that each peer downloads; undefined: unknown */
  constructor(out: WriteStream, names: readonly string[], bytesTotal: number | undefined) {
    this.#out = out
    this.#names = names
    this.#bytesTotal = bytesTotal
    this.#bytes = names.map(() => 0)
    this.#tenths = names.map(() => 0)
  }

  /** This peer has so many bytes now. */
  update(number: number, bytes: number): void {
    this.#bytes[number] = bytes
    if (!this.#out.isTTY) this.#tell(number)
    else if (performance.now() - this.#drawnAt >= drawEveryMs) this.#draw()
  }

  /** Shows how it ended. */
  end(): void {
    if (this.#out.isTTY) this.#draw()
  }

  #tell(number: number): void {
    const share = this.#share(number)
    if (share === undefined) return
    const tenth = Math.floor(share * 10)
    if (tenth <= (this.#tenths[number] ?? 0)) return
    this.#tenths[number] = tenth
    this.#out.write(`${this.#names[number]} ${tenth * 10} %\n`)
  }

  #draw(): void {
    const width = Math.max(...this.#names.map((name) => name.length))
    const lines = this.#names.map((name, number) => {
      const bytes = megabytes(this.#bytes[number] ?? 0).padStart(10)
      const share = this.#share(number)
      if (share === undefined) return `${name.padEnd(width)} ${bytes}`
      const bar = '█'.repeat(Math.round(share * barWidth)).padEnd(barWidth, '░')
      return `${name.padEnd(width)} ${bar} ${`${Math.floor(share * 100)} %`.padStart(5)} ${bytes}`
    })
    const up = this.#drawn ? `\u001B[${lines.length}A` : ''
    this.#out.write(`${up}${lines.map((line) => `\u001B[2K${line}\n`).join('')}`)
    this.#drawn = true
    this.#drawnAt = performance.now()
  }

  #share(number: number): number | undefined {
    if (this.#bytesTotal === undefined) return undefined
    if (this.#bytesTotal === 0) return 1
    return (this.#bytes[number] ?? 0) / this.#bytesTotal
  }
}

/** Rows of text in columns: the first one to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const width = widths?.[column] ?? 0
        return column === 0 ? cell.padEnd(width) : cell.padStart(width)
      })
      return cells.join('  ').trimEnd()
    })
    .join('\n')
}

/** Bytes for a reader. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
