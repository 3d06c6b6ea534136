import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { loadAddon } from '../../../src/transport/rdma/addon.ts'
import { libcVersions, prebuild, sourcesHash, targets } from '../../support/native-build.ts'
import { tempFolder } from '../../support/temp-folder.ts'

test('The published binaries are made of the sources in the checkout', () => {
  for (const target of targets) {
    for (const addon of ['rdma', 'flow'] as const) {
      const stale = `${addon} ${target} is made of other sources: run npm run build:native`
      assert.ok(readFileSync(prebuild(target, addon)).includes(sourcesHash(addon)), stale)
    }
  }
})

test('The published binaries ask for no C library newer than 2.17, and name no folder of a machine', () => {
  const binaries = targets.flatMap((target) => [prebuild(target), prebuild(target, 'flow')])
  for (const target of binaries) {
    const versions = libcVersions(target)
    assert.ok(versions.length > 0, target)
    for (const version of versions) assert.ok(Number(version.split('.')[1]) <= 17, version)
    const text = readFileSync(target, 'latin1')
    assert.doesNotMatch(text, /\/(home|usr|tmp|opt|root)\//)
  }
})

test('loadAddon() gives the addon with its version and sources, the same one each time', () => {
  const first = loadAddon()
  const second = loadAddon()
  assert.ok('native' in first && 'native' in second)
  assert.equal(first.native, second.native)
  assert.equal(first.native.version, 1)
  assert.equal(first.native.sources, sourcesHash())
})

test('loadAddon() says why there is none', (t) => {
  const folder = tempFolder(t)
  const reason = (place: Parameters<typeof loadAddon>[0]): string => {
    const addon = loadAddon(place)
    return 'reason' in addon ? addon.reason : 'loaded'
  }
  assert.equal(reason({ platform: 'darwin' }), `RDMA is unsupported on darwin-${process.arch}`)
  assert.equal(reason({ platform: 'win32', arch: 'x64' }), 'RDMA is unsupported on win32-x64')
  assert.equal(reason({ arch: 'riscv64' }), 'RDMA is unsupported on linux-riscv64')
  assert.match(reason({ folder }), /does not load: Error: Cannot find module/)
  const name = `linux-${process.arch}.node`
  writeFileSync(join(folder, name), 'no library')
  assert.match(reason({ folder }), /does not load: Error: .*(ELF|too short)/)
  const other = process.arch === 'x64' ? 'arm64' : 'x64'
  const wrong = tempFolder(t)
  copyFileSync(prebuild(`linux-${other}`), join(wrong, name))
  assert.match(reason({ folder: wrong }), /does not load: Error: /)
})

test('loadAddon() loads no verbs library: every call says so', async () => {
  const addon = loadAddon()
  assert.ok('native' in addon)
  const { native } = addon
  await assert.rejects(native.devices(), { code: 'ERR_RDMA_UNAVAILABLE' })
  const options = { device: 'x', port: 1, gidIndex: 0, onEvent: () => undefined }
  await assert.rejects(native.open(options), { code: 'ERR_RDMA_UNAVAILABLE' })
})

test('load() refuses a library that is not there or has no verbs, and can then be called again', () => {
  const addon = loadAddon()
  assert.ok('native' in addon)
  const { native } = addon
  const refused = (path: string, message: RegExp): void =>
    assert.throws(() => native.load(path), { code: 'ERR_RDMA_UNAVAILABLE', message })
  refused('libnone.so.9', /No verbs library: libnone\.so\.9/)
  refused('libm.so.6', /no ibv_get_device_list in it/)
  refused('libnone.so.9', /No verbs library/)
})
