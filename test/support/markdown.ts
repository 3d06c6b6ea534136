/** A heading of the third level and the rows of the table below it. */
export interface Section {
  readonly title: string
  /** The cells of each row, without the head of the table. */
  readonly rows: readonly (readonly string[])[]
}

/** The sections of the third level, in order. */
export function sections(text: string): readonly Section[] {
  return text
    .split(/^### /m)
    .slice(1)
    .map((part) => ({ title: part.split('\n', 1)[0]?.trim() ?? '', rows: rows(part) }))
}

/** The cells of all table rows, without heads. */
export function rows(text: string): readonly (readonly string[])[] {
  const found: string[][] = []
  let body = false
  for (const line of text.split('\n')) {
    if (!line.startsWith('|')) body = false
    else if (/^\|( *:?-+:? *\|)+$/.test(line)) body = true
    else if (body)
      found.push(
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
  }
  return found
}

/** What a heading is called in a link: lower case, hyphens for spaces, no other signs. */
export function anchors(text: string): ReadonlySet<string> {
  const titles = [...text.matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '')
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** Targets of links to other places of the project: a path, an anchor, or both. */
export function localLinks(text: string): readonly string[] {
  const prose = text.replace(/^```[^]*?^```/gm, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target))
}
