/** CRC-32 (IEEE) of texts. */
export const crcs: readonly { readonly text: string; readonly crc: number }[] = [
  { text: '', crc: 0 },
  { text: '123456789', crc: 3421780262 },
  { text: 'test content', crc: 1475635037 },
]

/** SHA-256 of `test content`. */
export const sha256OfTestContent: string =
  '6ae8a75555209fd6c44157c0aed8016e763ff435a19cf186f76863140143ff72'

/** SHA-512 of `abc`, from FIPS 180-4. */
export const sha512OfAbc: string =
  'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a' +
  '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f'

/** Digest over the metadata of a piece. */
export const pieceMetadata: {
  readonly number: number
  readonly offset: number
  readonly length: number
  readonly digest: string
  readonly metadataDigest: string
} = {
  number: 1,
  offset: 0,
  length: 1024,
  digest: 'crc32:1929153120',
  metadataDigest: 'crc32:3299754941',
}

/** xxh64 with seed 0, from the reference implementation. */
export const xxh64s: readonly { readonly text: string; readonly hash: bigint }[] = [
  { text: '', hash: 0xef46db3751d8e999n },
  { text: 'a', hash: 0xd24ec4f1a98c6e5bn },
  { text: 'abc', hash: 0x44bc2cf5ad770999n },
  { text: 'Nobody inspects the spammish repetition', hash: 0xfbcea83c8a378bf1n },
]
