/** Longest URL that is repeated in an error or event; the rest is cut. Bounds what a hostile `Location` can put into a log. */
export const redactedUrlLengthMax = 1024
/** Most names of query parameters that are repeated. */
export const redactedNamesMax = 32
/** Longest foreign text that is repeated in an error. */
export const redactedTextLengthMax = 300
/** Texts shorter than this are not searched for in foreign messages: they would match by chance. */
const secretLengthMin = 4

/**
 * A URL as it may appear in errors and events: without user info, fragment and the values of query parameters. Names stay, so that a signed URL can be
 * recognised as one; a parameter without `=` is all value. What cannot be parsed cannot be stripped with certainty: only its scheme is repeated.
 */
export function redactUrl(url: URL | string): string {
  const parsed = typeof url === 'string' ? parseUrl(url) : new URL(url.href)
  if (parsed === undefined) return schemeOf(String(url))
  const names = namesOf(parsed.search)
  parsed.username = ''
  parsed.password = ''
  parsed.search = ''
  parsed.hash = ''
  // A URL without `//` has no user info for the parser; what stands before an @ in its first segment may still be some.
  const text = parsed.href.replace(/^([a-z][a-z0-9+.-]*:)(?!\/)[^/]*@/, '$1')
  return cut(text + names, redactedUrlLengthMax)
}

/** Parses a URL without an error: the one of the constructor holds the whole text, with all secrets in it. */
export function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    // Not a URL: that is the answer. `URL.canParse()` has wrong answers on Node 20 and 22 for hosts with letters like ü.
    return undefined
  }
}

/** The scheme with its colon, when the text begins like a URL; else nothing. */
export function schemeOf(text: string): string {
  return /^[a-z][a-z0-9+.-]{0,31}:/i.exec(text)?.[0].toLowerCase() ?? ''
}

/**
 * Foreign text with every secret of a request taken out: header values, user info, query values, and the URL itself. Cut at `redactedTextLengthMax`.
 */
export function redactText(
  text: string,
  request: { readonly url: URL; readonly headers: Readonly<Record<string, string>> },
): string {
  const { url, headers } = request
  let redacted = text.replaceAll(url.href, redactUrl(url))
  const secrets = [
    ...Object.values(headers).flatMap((value) => [value, ...value.split(' ')]),
    url.username,
    url.password,
    ...url.searchParams.values(),
    ...url.search
      .slice(1)
      .split('&')
      .map((pair) => pair.slice(pair.indexOf('=') + 1)),
  ]
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) {
    if (secret.length >= secretLengthMin) redacted = redacted.replaceAll(secret, '…')
  }
  return cut(redacted, redactedTextLengthMax)
}

function namesOf(search: string): string {
  if (search.length < 2) return ''
  const parameters = search.slice(1).split('&', redactedNamesMax)
  return `?${parameters.map((one) => (one.includes('=') ? one.slice(0, one.indexOf('=')) : '…')).join('&')}`
}

function cut(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`
}
