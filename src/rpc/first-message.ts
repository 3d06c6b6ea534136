/** Bytes of the envelope of a gRPC message: a flag and the length of what follows. */
const envelopeBytes = 5

/** Passes the body of a request on, and tells once when its first message is whole, or when it ends without one. Holds nothing of it. */
export async function* watchFirstMessage<T extends Uint8Array>(
  body: AsyncIterable<T>,
  onWhole: () => void,
): AsyncGenerator<T, void, undefined> {
  let seen = 0
  let length = 0
  let told = false
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length && seen + at < envelopeBytes; at++) {
      if (seen + at > 0) length = length * 256 + (chunk[at] ?? 0)
    }
    seen += chunk.length
    if (!told && seen >= envelopeBytes + length) {
      told = true
      onWhole()
    }
    yield chunk
  }
  if (!told) onWhole()
}
