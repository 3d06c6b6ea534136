import { testTransport } from '../../contract/transport.ts'
import type { TransportFactory } from '../../../src/transport/transport.ts'
import { FakeNative } from './fake-native.ts'
import { RdmaNetwork } from './network.ts'

for (const [name, anyMemory] of [
  ['rdma, through slabs', false],
  ['rdma, in place', true],
] as const) {
  const makeNetwork = (): (() => TransportFactory) => {
    const network = new RdmaNetwork(new FakeNative({ anyMemory }))
    return () => network.factory()
  }
  testTransport(name, makeNetwork, 'pieces')
}
