import { memoryNetwork } from '../../src/transport/memory.ts'
import { testTransport } from '../contract/transport.ts'

testTransport('memory', () => {
  const network = memoryNetwork()
  return () => network.transport()
})
