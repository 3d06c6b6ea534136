import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import { connectedPair, device, endOf, gidIndex, MiB, nativeRdma, openPort } from './rig.ts'

const native = nativeRdma()

/** Called with anything at all. */
type Anything = (...args: readonly unknown[]) => unknown

const functions = native as unknown as Readonly<Record<string, Anything>>

function call(name: string, ...args: readonly unknown[]): unknown {
  const wanted = functions[name]
  assert.ok(wanted !== undefined, name)
  return wanted(...args)
}

const junk: readonly unknown[] = [
  undefined,
  null,
  0,
  1n,
  '',
  'x',
  true,
  {},
  [],
  () => 0,
  Symbol('x'),
  new Uint8Array(4),
  new Map(),
  Object.create(null),
]

/** As a Node-API addon throws them: with a code. */
function refuses(
  name: string,
  args: readonly unknown[],
  kind: 'type' | 'range',
  text: RegExp,
): void {
  const constructor = kind === 'type' ? TypeError : RangeError
  const code = kind === 'type' ? 'ERR_INVALID_ARG_TYPE' : 'ERR_OUT_OF_RANGE'
  assert.throws(
    () => call(name, ...args),
    (error) => {
      assert.ok(error instanceof constructor, `${name}(${inspect(args)}): ${inspect(error)}`)
      assert.equal((error as { code?: string }).code, code)
      assert.match(error.message, text)
      return true
    },
    name,
  )
}

const wrongWhole: readonly (readonly [unknown, 'type' | 'range'])[] = [
  [undefined, 'type'],
  ['1', 'type'],
  [1n, 'type'],
  [Number.NaN, 'range'],
  [-1, 'range'],
  [1.5, 'range'],
  [Infinity, 'range'],
  [2 ** 64, 'range'],
  [-0.5, 'range'],
]

test('load() refuses what is no path, and another library', () => {
  for (const path of junk.filter((each) => typeof each !== 'string')) {
    refuses('load', [path], 'type', /`path`/)
  }
  refuses('load', [''], 'range', /1 to 4095 bytes/)
  refuses('load', ['x'.repeat(4096)], 'range', /1 to 4095 bytes/)
  refuses('load', ['a\0b'], 'type', /zero character/)
  assert.throws(() => native.load('libother.so'), { code: 'ERR_RDMA_UNAVAILABLE' })
})

test('open() refuses wrong options', () => {
  const right = { device, port: 1, gidIndex, onEvent: () => undefined }
  for (const options of [undefined, null, 1, 'x', () => 0]) {
    refuses('open', [options], 'type', /`options`/)
  }
  for (const name of [undefined, 1, {}])
    refuses('open', [{ ...right, device: name }], 'type', /`device`/)
  refuses('open', [{ ...right, device: '' }], 'range', /`device`/)
  refuses('open', [{ ...right, device: 'x'.repeat(64) }], 'range', /`device`/)
  for (const [value, kind] of wrongWhole) {
    refuses('open', [{ ...right, port: value }], kind, /`port`/)
    refuses('open', [{ ...right, gidIndex: value }], kind, /`gidIndex`/)
  }
  refuses('open', [{ ...right, port: 0 }], 'range', /`port`/)
  refuses('open', [{ ...right, port: 256 }], 'range', /`port`/)
  refuses('open', [{ ...right, gidIndex: 256 }], 'range', /`gidIndex`/)
  for (const onEvent of [undefined, {}, 'x'])
    refuses('open', [{ ...right, onEvent }], 'type', /`onEvent`/)
})

test('open() passes on what a getter throws', () => {
  const wanted = new Error('from the getter')
  const options = {
    get device(): string {
      throw wanted
    },
  }
  assert.throws(() => call('open', options), wanted)
})

test('allocate() refuses what is no length', () => {
  for (const [value, kind] of wrongWhole) refuses('allocate', [value], kind, /`byteLength`/)
  refuses('allocate', [0], 'range', /from 1 to 4294967296/)
  refuses('allocate', [2 ** 32 + 1], 'range', /from 1 to 4294967296/)
})

test('isAllocated(), share() and view() refuse what they cannot look at', () => {
  for (const value of junk.filter((each) => typeof each !== 'object' || each === null)) {
    refuses('isAllocated', [value], 'type', /`buffer`/)
  }
  for (const value of junk) refuses('share', [value], 'type', /`buffer`/)
  refuses('share', [new ArrayBuffer(8)], 'type', /must come from allocate/)
  for (const [value, kind] of wrongWhole) refuses('view', [value], kind, /`token`/)
  refuses('view', [2 ** 53 - 1], 'range', /is gone/)
})

test('Handles of the wrong kind are refused everywhere', async () => {
  const { context } = await openPort(native)
  const { child } = await connectedPair(native, context)
  const handles = {
    context,
    domain: child.domain,
    registration: child.into,
    queuePair: child.queuePair,
  }
  const wanted: Readonly<Record<string, keyof typeof handles>> = {
    close: 'context',
    domain: 'context',
    freeDomain: 'domain',
    register: 'domain',
    deregister: 'registration',
    queuePair: 'domain',
    connect: 'queuePair',
    abort: 'queuePair',
    freeQueuePair: 'queuePair',
    read: 'queuePair',
  }
  for (const [name, kind] of Object.entries(wanted)) {
    const others = Object.entries(handles).filter(([each]) => each !== kind)
    const like = [Object.create(handles[kind]), { ...handles[kind] }, new Proxy(handles[kind], {})]
    for (const value of [...junk, ...like, ...others.map(([, handle]) => handle)]) {
      refuses(name, [value], 'type', /must be a/)
    }
  }
  await native.close(context)
})

test('register() refuses other memory and what lies outside', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const buffer = await native.allocate(MiB)
  for (const value of [
    ...junk,
    new Uint8Array(buffer),
    new SharedArrayBuffer(8),
    Buffer.alloc(8),
  ]) {
    refuses('register', [domain, value, 0, 1, 'local'], 'type', /`buffer`/)
  }
  refuses('register', [domain, new ArrayBuffer(8), 0, 1, 'local'], 'type', /come from allocate/)
  refuses('register', [domain, new ArrayBuffer(0), 0, 1, 'local'], 'type', /come from allocate/)
  for (const [value, kind] of wrongWhole) {
    refuses('register', [domain, buffer, value, 1, 'local'], kind, /`byteOffset`/)
    refuses('register', [domain, buffer, 0, value, 'local'], kind, /`byteLength`/)
  }
  refuses('register', [domain, buffer, MiB, 1, 'local'], 'range', /`byteOffset`/)
  refuses('register', [domain, buffer, 0, 0, 'local'], 'range', /`byteLength`/)
  refuses('register', [domain, buffer, 0, MiB + 1, 'local'], 'range', /`byteLength`/)
  refuses('register', [domain, buffer, MiB - 1, 2, 'local'], 'range', /`byteLength`/)
  refuses('register', [domain, buffer, 0, 1, 'remoteWrite'], 'range', /'local' or 'remoteRead'/)
  refuses('register', [domain, buffer, 0, 1, 5], 'type', /`access`/)
  await native.close(context)
})

test('queuePair() refuses wrong options', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  for (const value of [undefined, null, 1, 'x']) {
    refuses('queuePair', [domain, value], 'type', /`options`/)
  }
  for (const [value, kind] of wrongWhole) {
    refuses('queuePair', [domain, { readsMax: value, remoteRead: true }], kind, /`readsMax`/)
  }
  refuses('queuePair', [domain, { readsMax: 0, remoteRead: true }], 'range', /`readsMax`/)
  const tooMany = context.readsPostedMax + 1
  refuses('queuePair', [domain, { readsMax: tooMany, remoteRead: true }], 'range', /`readsMax`/)
  for (const value of [undefined, 1, 'true', null]) {
    refuses('queuePair', [domain, { readsMax: 1, remoteRead: value }], 'type', /`remoteRead`/)
  }
  await native.close(context)
})

test('connect() refuses a wrong other end', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, { readsMax: 1, remoteRead: true })
  const right = endOf(context, queuePair)
  for (const value of [undefined, null, 1, 'x']) {
    refuses('connect', [queuePair, value], 'type', /`remote`/)
  }
  const most = {
    num: 0xffffff,
    lid: 0xffff,
    mtu: 4096,
    readsOut: context.readsOutMax,
    readsIn: context.readsInMax,
    timeout: 31,
    retries: 6,
  }
  for (const [name, max] of Object.entries(most)) {
    for (const [value, kind] of wrongWhole) {
      refuses('connect', [queuePair, { ...right, [name]: value }], kind, new RegExp(`\`${name}\``))
    }
    refuses(
      'connect',
      [queuePair, { ...right, [name]: max + 1 }],
      'range',
      new RegExp(`\`${name}\``),
    )
  }
  for (const mtu of [0, 1, 128, 1500, 4095]) {
    refuses('connect', [queuePair, { ...right, mtu }], 'range', /`mtu` must be 256/)
  }
  for (const gid of [
    undefined,
    '::1',
    new ArrayBuffer(16),
    new Uint16Array(8),
    Array(16).fill(0),
  ]) {
    refuses('connect', [queuePair, { ...right, gid }], 'type', /`gid`/)
  }
  for (const length of [0, 15, 17]) {
    refuses('connect', [queuePair, { ...right, gid: new Uint8Array(length) }], 'range', /`gid`/)
  }
  await native.close(context)
})

test('read() refuses what lies outside of the registration or of 64 bits', async () => {
  const { context } = await openPort(native)
  const { child, parent } = await connectedPair(native, context)
  const { queuePair, into: registration } = child
  const into = { registration, offset: 0, byteLength: 16 }
  const from = { address: parent.from.address, key: parent.from.remoteKey }
  for (const value of [undefined, null, 1, 'x']) {
    refuses('read', [queuePair, value, from], 'type', /`into`/)
    refuses('read', [queuePair, into, value], 'type', /`from`/)
  }
  for (const value of junk) {
    refuses(
      'read',
      [queuePair, { ...into, registration: value }, from],
      'type',
      /into.registration/,
    )
  }
  for (const [value, kind] of wrongWhole) {
    refuses('read', [queuePair, { ...into, offset: value }, from], kind, /into.offset/)
    refuses('read', [queuePair, { ...into, byteLength: value }, from], kind, /into.byteLength/)
    refuses('read', [queuePair, into, { ...from, key: value }], kind, /from.key/)
  }
  const length = registration.byteLength
  refuses('read', [queuePair, { ...into, offset: length }, from], 'range', /into.offset/)
  refuses('read', [queuePair, { ...into, byteLength: 0 }, from], 'range', /into.byteLength/)
  refuses('read', [queuePair, { ...into, byteLength: length + 1 }, from], 'range', /byteLength/)
  refuses(
    'read',
    [queuePair, { ...into, offset: length - 1, byteLength: 2 }, from],
    'range',
    /byteLength/,
  )
  refuses('read', [queuePair, into, { ...from, key: 2 ** 32 }], 'range', /from.key/)
  for (const address of [undefined, 1, '1']) {
    refuses('read', [queuePair, into, { ...from, address }], 'type', /from.address/)
  }
  for (const address of [-1n, 2n ** 64n]) {
    refuses('read', [queuePair, into, { ...from, address }], 'range', /from.address/)
  }
  refuses('read', [queuePair, into, { ...from, address: 2n ** 64n - 1n }], 'range', /below 2\^64/)
  assert.equal(native.stats().readsPosted, 0)
  await native.close(context)
})

test('read() refuses a registration that reads may not write into', async () => {
  const { context } = await openPort(native)
  const { child, parent } = await connectedPair(native, context)
  const from = { address: parent.from.address, key: parent.from.remoteKey }
  const into = { offset: 0, byteLength: 16 }
  const other = await native.register(parent.domain, parent.memory.buffer, 0, 64, 'local')
  const readOnly = await native.register(child.domain, child.memory.buffer, 0, 64, 'remoteRead')
  refuses(
    'read',
    [child.queuePair, { ...into, registration: other }, from],
    'type',
    /of the domain/,
  )
  refuses(
    'read',
    [child.queuePair, { ...into, registration: readOnly }, from],
    'type',
    /'local' access/,
  )
  await native.close(context)
})

test('read() refuses more than a message of the port holds', async (t) => {
  const { context } = await openPort(native)
  if (context.readBytesMax >= 2 ** 30) {
    t.diagnostic('not tried: a message holds as much as is reasonable to allocate')
  } else {
    const bytes = context.readBytesMax + 1
    const { child, parent } = await connectedPair(native, context, context, { bytes })
    const into = { registration: child.into, offset: 0, byteLength: bytes }
    const from = { address: parent.from.address, key: parent.from.remoteKey }
    refuses('read', [child.queuePair, into, from], 'range', /most of this port/)
  }
  await native.close(context)
})
