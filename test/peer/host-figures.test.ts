import assert from 'node:assert/strict'
import os from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { bandwidthDefault, figuresMs, HostGauge } from '../../src/peer/host-figures.ts'
import {
  coreCounts,
  diskBytes,
  linkSpeed,
  machineCounts,
  memoryBytes,
} from '../../src/peer/machine.ts'
import { settings } from '../../src/peer/settings.ts'
import { millisOf } from '../../src/rpc/convert.ts'
import type { Clock } from '../../src/util/clock.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'
import { startPeer } from './start-peer.ts'

const host = { id: 'h', ip: '127.0.0.1', hostname: 'h', port: 4000, tcpPort: 4001 }

test('AnnounceHost says everything that a scheduler reads, within what a Go scheduler accepts', async (t) => {
  const scheduler = await ScriptedScheduler.start(t)
  const peer = await startPeer(t, {
    scheduler: scheduler.address,
    seedPeer: true,
    host: { hostname: 'figures', idc: 'east', location: 'a|b' },
    limits: { uploadBytesPerSecond: 1_000_000, downloadBytesPerSecond: 2_000_000 },
  })
  const [request] = scheduler.hosts
  const { host: said, interval } = request ?? assert.fail('No host was announced')
  assert.ok(said !== undefined)
  assert.equal(millisOf(interval), 30_000)
  assert.equal(said.id, peer.hostId)
  assert.equal(said.id, '127.0.0.1-figures-seed')
  assert.equal(said.type, 1)
  assert.equal(said.hostname, 'figures')
  assert.equal(said.name, 'figures')
  assert.equal(said.ip, '127.0.0.1')
  const port = Number(peer.address.split(':')[1])
  assert.deepEqual([said.port, said.downloadPort], [port, port])
  assert.ok(said.port >= 1024 && said.port < 65_535)
  assert.equal(said.os, os.platform())
  assert.equal(said.platform, os.platform())
  assert.equal(said.platformFamily, 'unix')
  assert.notEqual(said.platformVersion, '')
  assert.equal(said.kernelVersion, os.release())
  assert.equal(said.disableShared, false)
  assert.equal(said.schedulerClusterId, 0n)
  assert.match(said.build?.gitVersion ?? '', /^\d+\.\d+\.\d+/)
  const { cpu, memory, disk, network } = said
  assert.ok(cpu !== undefined && memory !== undefined)
  assert.ok(disk !== undefined && network !== undefined)
  assert.equal(cpu.logicalCount, os.cpus().length)
  assert.ok(cpu.physicalCount >= 1 && cpu.physicalCount <= cpu.logicalCount)
  for (const share of [
    cpu.percent,
    cpu.processPercent,
    memory.usedPercent,
    memory.processUsedPercent,
    disk.usedPercent,
  ]) {
    assert.ok(share >= 0 && share <= 100, String(share))
  }
  assert.ok(memory.processUsedPercent > 0)
  assert.ok(memory.total > 0n && memory.total <= BigInt(os.totalmem()))
  assert.equal(memory.used + memory.available, memory.total)
  assert.ok(disk.free > 0n && disk.free <= disk.total)
  assert.equal(disk.used + disk.free, disk.total)
  assert.deepEqual(
    [network.maxTxBandwidth, network.maxRxBandwidth, network.idc, network.location],
    [8_000_000n, 16_000_000n, 'east', 'a|b'],
  )
  assert.deepEqual([network.txBandwidth, network.rxBandwidth], [0n, 0n])
})

test('HostGauge measures rates between two looks, and looks once in a while only', (t) => {
  let now = 5000
  const clock: Clock = { now: () => now, date: () => now, after: () => () => undefined }
  let sent = 0
  let received = 0
  const gauge = new HostGauge({
    host,
    settings: settings(),
    storeDir: tempFolder(t),
    clock,
    sentBytes: () => sent,
    receivedBytes: () => received,
  })
  const first = gauge.figures()
  assert.deepEqual(first.network, {
    maxRx: bandwidthDefault,
    rx: 0,
    maxTx: bandwidthDefault,
    tx: 0,
  })
  sent = 4000
  received = 1000
  now += figuresMs - 1
  assert.equal(gauge.figures(), first)
  now += 1 + figuresMs
  const { network, cpu, disk } = gauge.figures()
  assert.equal(network?.tx, 16_000)
  assert.equal(network?.rx, 4000)
  assert.ok((disk?.readBytesPerSecond ?? -1) >= 0 && (disk?.writeBytesPerSecond ?? -1) >= 0)
  assert.ok(cpu !== undefined && cpu.percent >= 0 && cpu.percent <= 100)
  now += 10 * figuresMs
  assert.equal(gauge.figures().network?.tx, 0)
})

test('HostGauge tells of a host whose folder is gone', (t) => {
  const clock: Clock = { now: () => 0, date: () => 0, after: () => () => undefined }
  const none = (): number => 0
  const gauge = new HostGauge({
    host,
    settings: settings(),
    storeDir: join(tempFolder(t), 'gone'),
    clock,
    sentBytes: none,
    receivedBytes: none,
  })
  assert.equal(gauge.figures().disk, undefined)
})

test('The machine is read in plausible figures', (t) => {
  const before = machineCounts()
  for (let at = 0; at < 5e7; at++) Math.sqrt(at)
  const after = machineCounts()
  assert.ok(after.processCpuMs > before.processCpuMs)
  assert.ok(after.cpuMs >= before.cpuMs && after.cpuIdleMs >= before.cpuIdleMs)
  const { physical, logical } = coreCounts()
  assert.ok(physical >= 1 && logical >= physical)
  const { total, available } = memoryBytes()
  assert.ok(available > 0 && available <= total)
  const disk = diskBytes(tempFolder(t))
  assert.ok(disk !== undefined && disk.free > 0 && disk.free <= disk.total)
  assert.equal(linkSpeed('127.0.0.1'), undefined)
  assert.equal(linkSpeed('192.0.2.77'), undefined)
})
