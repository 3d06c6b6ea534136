import { createClient } from '@connectrpc/connect'
import { openChannel } from '../../../src/rpc/channel.ts'
import {
  HealthCheckResponse_ServingStatus as ServingStatus,
  Health,
} from '../../../src/rpc/gen/grpc/health/v1/health_pb.ts'

/** Whether a gRPC server says that it serves. `address` as in `openChannel()`; `service` empty: the server as a whole. */
export async function serves(address: string, service = ''): Promise<boolean> {
  const channel = openChannel({ address, connectTimeoutMs: 1000 })
  try {
    const { status } = await createClient(Health, channel).check({ service }, { timeoutMs: 2000 })
    return status === ServingStatus.SERVING
  } catch {
    // Nobody listens yet, or it is not ready: the caller looks again until its own time is over, and then says what it waited for.
    return false
  } finally {
    channel.close()
  }
}
