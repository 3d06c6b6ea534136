import { tcp } from '../../../src/transport/tcp/tcp.ts'
import { testTransport } from '../../contract/transport.ts'

testTransport('tcp', () => () => tcp())
testTransport('tcp without the addon', () => () => tcp({ native: false }))
