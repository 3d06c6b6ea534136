/** What identifies a task, beside its id. */
export interface TaskLabels {
  /** Only a URL that can be shown to anybody is kept. */
  readonly url?: string
  readonly tag?: string
  readonly application?: string
  readonly digest?: string
  readonly filteredQueryParams: readonly string[]
}

/** A URL for everybody's eyes; undefined when it may hold a secret, in its user info or its query. A part of it would name other content. */
export function publicUrl(url: string | undefined): string | undefined {
  if (url === undefined) return undefined
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]*(?:\/[^?#]*)?$/i.test(url) ? url : undefined
}
