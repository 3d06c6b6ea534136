import { tcp } from '../../../src/transport/tcp/tcp.ts'
import { testTransport } from '../../contract/transport.ts'

testTransport('tcp', () => () => tcp())
