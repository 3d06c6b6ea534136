import type { PersistentCacheTaskParts, StandardTaskParts } from '../../src/hash/task-id.ts'

/** Standard task ids that the real client's own tests assert. */
export const standardTaskIds: readonly {
  readonly parts: StandardTaskParts
  readonly id: string
}[] = [
  {
    parts: {
      url: 'https://example.com',
      pieceLength: 1024,
      tag: 'foo',
      application: 'bar',
      revision: 'v1.0',
    },
    id: '5844f27a257287e9b734256bb25603d8005422ced8c0377f15063ec11963b25f',
  },
  {
    parts: { url: 'https://example.com', tag: 'foo', application: 'bar' },
    id: '06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca',
  },
  {
    parts: { url: 'https://example.com', tag: 'foo' },
    id: '3c3f230ef9f191dd2821510346a7bc138e4894bee9aee184ba250a3040701d2a',
  },
  {
    parts: { url: 'https://example.com', application: 'bar' },
    id: 'c9f9261b7305c24371244f9f149f5d4589ed601348fdf22d7f6f4b10658fdba2',
  },
  {
    parts: { url: 'https://example.com', pieceLength: 1024 },
    id: '9f7c9aafbc6f30f8f41a96ca77eeae80c5b60964b3034b0ee43ccf7b2f9e52b8',
  },
  {
    parts: {
      url: 'https://example.com?foo=foo&bar=bar',
      filteredQueryParams: ['foo', 'bar'],
    },
    id: '457b4328cde278e422c9e243f7bfd1e97f511fec43a80f535cf6b0ef6b086776',
  },
  {
    parts: { url: 'https://example.com', revision: 'v1.0' },
    id: 'b171331534b80e0bf91da38ebbfcdbf4d177898f4b9beac44f14733e3f004d4e',
  },
  {
    parts: { url: 'https://example.com', content: 'This is a test file' },
    id: 'e2d0fe1585a63ec6009c8016ff8dda8b17719a637405a4e23c0ff81339148249',
  },
  {
    parts: {
      url: `https://registry.example.com/v2/myorg/myrepo/blobs/sha256:${'1234567890abcdef'.repeat(4)}`,
      blobDigest: true,
    },
    id: '1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef',
  },
]

/** How URLs are normalised, and how the id of a task with nothing but this URL begins. */
export const normalizedUrls: readonly {
  readonly url: string
  readonly filter: readonly string[]
  readonly normalized: string
  readonly idStart: string
}[] = [
  {
    url: 'https://example.com/',
    filter: [],
    normalized: 'https://example.com',
    idStart: '457b4328',
  },
  {
    url: 'https://EXAMPLE.com:443/a/../b',
    filter: [],
    normalized: 'https://example.com/b',
    idStart: 'abb3b909',
  },
  {
    url: 'https://example.com/a?x=1&y=a b&z=%E4%BD%A0',
    filter: ['x'],
    normalized: 'https://example.com/a?y=a+b&z=%E4%BD%A0',
    idStart: 'e0237a19',
  },
  {
    url: 'https://example.com/a?x=1#frag',
    filter: ['x'],
    normalized: 'https://example.com/a#frag',
    idStart: 'a45c6dfd',
  },
  {
    url: 'https://example.com/a?b=1&b=2&a=3',
    filter: [],
    normalized: 'https://example.com/a?b=1&b=2&a=3',
    idStart: '8f93bb8f',
  },
  {
    url: 'https://example.com/a?flag&k=v',
    filter: [],
    normalized: 'https://example.com/a?flag=&k=v',
    idStart: '3cb34685',
  },
  {
    url: "https://example.com/a?k=a+b%20c~*-._!'()",
    filter: [],
    normalized: 'https://example.com/a?k=a+b+c%7E*-._%21%27%28%29',
    idStart: '28981d56',
  },
  {
    url: 's3://bucket/path/to/key',
    filter: [],
    normalized: 's3://bucket/path/to/key',
    idStart: '82954b46',
  },
  { url: 's3://bucket/', filter: [], normalized: 's3://bucket', idStart: '2c7aa18b' },
  {
    url: 'https://example.com/a?',
    filter: [],
    normalized: 'https://example.com/a',
    idStart: 'c058b445',
  },
  {
    url: 'https://example.com/?ns=docker.io',
    filter: ['ns'],
    normalized: 'https://example.com',
    idStart: '457b4328',
  },
]

/** A persistent task id that the real client's tests assert. */
export const persistentTaskIds: readonly {
  readonly url: string
  readonly region: string
  readonly endpoint: string
  readonly id: string
}[] = [
  {
    url: 'my-object-key',
    region: 'us-west-1',
    endpoint: 'https://s3.us-west-1.amazonaws.com',
    id: 'b51f4f44921bb585277a5cbac13e7f6e2858238e98546f3ee6bfeb56369979c0',
  },
]

/** Content of the file that the ids of {@link persistentCacheTaskIds} name, and also the text of the content variant. */
export const persistentCacheContent: string = 'This is a test file'

/** Id of the content variant over {@link persistentCacheContent}. */
export const contentId: string = 'e2d0fe1585a63ec6009c8016ff8dda8b17719a637405a4e23c0ff81339148249'

/** Persistent cache task ids that the real client's tests assert. */
export const persistentCacheTaskIds: readonly {
  readonly parts: PersistentCacheTaskParts
  readonly id: string
}[] = [
  {
    parts: { pieceLength: 1024, tag: 'tag1', application: 'app1' },
    id: '7160a071a9acea5ac341e770c14d0211c38a4b15b3bbe2c5f848a706fd47419e',
  },
  {
    parts: { application: 'app1' },
    id: '0d0f8536f51227fda07141308f5ae8149b561b51b61c6517125f25dfa27acf5b',
  },
  {
    parts: { tag: 'tag1' },
    id: 'a98b76813681e30cf83733fe055792b86393bba6f18e3d89fd8c18253922d992',
  },
  {
    parts: { pieceLength: 1024 },
    id: 'e894374a39e39cfa78c409cac02f2cdbb5605a24f5ff55c7bc2b624877556c03',
  },
]
