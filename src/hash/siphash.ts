const mask = 0xffff_ffff_ffff_ffffn

/**
 * SipHash-2-4, 64-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
 *
 * Written here because Node's crypto does not pass on the one in OpenSSL, and a dependency for sixty lines of fixed arithmetic with published
 * test vectors would cost every user more than it spares. It hashes some thirty bytes per scheduler address, so BigInt is fast enough and
 * keeps it readable.
 *
 * @param key0 - Lower half of the key.
 * @param key1 - Upper half of the key.
 */
export function sipHash24(bytes: Uint8Array, key0 = 0n, key1 = 0n): bigint {
  const state = new SipState(key0, key1)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const whole = bytes.length - (bytes.length % 8)
  for (let at = 0; at < whole; at += 8) state.absorb(view.getBigUint64(at, true))
  // The last word: what is left of the input, and the length of the input modulo 256 on top.
  let last = BigInt(bytes.length & 0xff) << 56n
  for (let at = whole; at < bytes.length; at++) {
    last |= BigInt(view.getUint8(at)) << BigInt(8 * (at - whole))
  }
  state.absorb(last)
  return state.finish()
}

class SipState {
  #v0: bigint
  #v1: bigint
  #v2: bigint
  #v3: bigint

  // The four constants spell "somepseudorandomlygeneratedbytes".
  constructor(key0: bigint, key1: bigint) {
    this.#v0 = key0 ^ 0x736f6d6570736575n
    this.#v1 = key1 ^ 0x646f72616e646f6dn
    this.#v2 = key0 ^ 0x6c7967656e657261n
    this.#v3 = key1 ^ 0x7465646279746573n
  }

  absorb(word: bigint): void {
    this.#v3 ^= word
    this.#round()
    this.#round()
    this.#v0 ^= word
  }

  finish(): bigint {
    this.#v2 ^= 0xffn
    for (let round = 0; round < 4; round++) this.#round()
    return this.#v0 ^ this.#v1 ^ this.#v2 ^ this.#v3
  }

  #round(): void {
    this.#v0 = (this.#v0 + this.#v1) & mask
    this.#v1 = rotate(this.#v1, 13n) ^ this.#v0
    this.#v0 = rotate(this.#v0, 32n)
    this.#v2 = (this.#v2 + this.#v3) & mask
    this.#v3 = rotate(this.#v3, 16n) ^ this.#v2
    this.#v0 = (this.#v0 + this.#v3) & mask
    this.#v3 = rotate(this.#v3, 21n) ^ this.#v0
    this.#v2 = (this.#v2 + this.#v1) & mask
    this.#v1 = rotate(this.#v1, 17n) ^ this.#v2
    this.#v2 = rotate(this.#v2, 32n)
  }
}

function rotate(word: bigint, bits: bigint): bigint {
  return ((word << bits) | (word >> (64n - bits))) & mask
}
