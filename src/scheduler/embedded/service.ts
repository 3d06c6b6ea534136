import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'

import { millisOf } from '../../rpc/convert.ts'
import { hostFacts } from '../../rpc/convert-host.ts'
import type { Scheduler } from '../../rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { HostRecord } from './host-record.ts'
import { hostMessageOf, peerMessage, taskMessage } from './messages.ts'
import { PeerStream, type StreamWorld } from './peer-stream.ts'
import { standardDialect } from './server-dialect.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** What the unary calls change, beside the registry. */
export interface ServiceWorld extends StreamWorld {
  /** A host is there that was not there before, or it changed. */
  readonly onHost: () => void
  /** These tasks lost a peer. */
  readonly onLost: (tasks: readonly TaskRecord[]) => void
}

type StandardMethods = Pick<
  ServiceImpl<typeof Scheduler>,
  | 'announceHost'
  | 'deleteHost'
  | 'listHosts'
  | 'announcePeer'
  | 'statPeer'
  | 'deletePeer'
  | 'statTask'
  | 'deleteTask'
  | 'preheatImage'
  | 'preheatFile'
  | 'statImage'
  | 'statFile'
>

/** Hosts and standard tasks (controlplane 1 and 2). */
export function standardMethods(world: ServiceWorld): StandardMethods {
  const { registry } = world
  return {
    announceHost({ host, interval }) {
      const facts = hostFacts(host)
      if (typeof facts === 'string') throw new ConnectError(facts, Code.InvalidArgument)
      if (registry.announceHost(facts, millisOf(interval) || undefined) === undefined) {
        throw new ConnectError('Too many hosts', Code.ResourceExhausted)
      }
      world.onHost()
      return {}
    },
    deleteHost({ hostId }) {
      world.onLost(registry.removeHost(hostOf(world, hostId)))
      return {}
    },
    listHosts({ type }) {
      const hosts = [...registry.hosts].map(({ facts }) => facts)
      const wanted = hosts.filter((facts) => type === undefined || facts.type === type)
      return { hosts: wanted.map(hostMessageOf) }
    },
    announcePeer: (requests, { signal }) =>
      new PeerStream(world, standardDialect).serve(requests, signal),
    statPeer({ taskId, peerId }) {
      return peerMessage(peerOf(world, taskId, peerId))
    },
    deletePeer({ taskId, peerId }) {
      const peer = registry.peer(taskId, peerId)
      if (peer !== undefined) dropPeers(world, [peer])
      return {}
    },
    statTask({ taskId }) {
      const task = registry.task(taskId)
      if (task?.kind !== 'standard') throw new ConnectError('The task is unknown', Code.NotFound)
      return taskMessage(task, true)
    },
    deleteTask({ hostId, taskId }) {
      const host = hostOf(world, hostId)
      dropPeers(
        world,
        [...registry.peersOf(host)].filter(({ task }) => task.id === taskId),
      )
      return {}
    },
    preheatImage: noPreheating,
    preheatFile: noPreheating,
    statImage: noPreheating,
    statFile: noPreheating,
  }
}

/** Removes peers, and sees to the children and copies that this concerns. */
export function dropPeers(world: ServiceWorld, peers: readonly PeerRecord[]): void {
  for (const peer of peers) world.registry.removePeer(peer)
  world.onLost([...new Set(peers.map(({ task }) => task))])
}

/** @throws ConnectError NotFound */
export function hostOf({ registry }: ServiceWorld, hostId: string): HostRecord {
  const host = registry.host(hostId)
  if (host === undefined) throw new ConnectError('The host is unknown', Code.NotFound)
  return host
}

/** @throws ConnectError NotFound */
export function peerOf({ registry }: ServiceWorld, taskId: string, peerId: string): PeerRecord {
  const peer = registry.peer(taskId, peerId)
  if (peer === undefined) throw new ConnectError('The peer is unknown', Code.NotFound)
  return peer
}

function noPreheating(): never {
  throw new ConnectError('Preheating needs a scheduler of its own', Code.FailedPrecondition)
}
