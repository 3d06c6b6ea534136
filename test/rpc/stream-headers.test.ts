import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { join } from 'node:path'
import { test } from 'node:test'
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { cleanup } from '../support/cleanup.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { paths, requests } from './services.ts'

function routes(router: ConnectRouter): void {
  router.service(DfdaemonUpload, {
    async *syncPieces({ taskId }) {
      if (taskId === 'bad') throw new ConnectError('Nothing here', Code.NotFound)
      yield { number: 1 }
      throw new ConnectError('Too late', Code.Aborted)
    },
  })
}

for (const [streamHeaders, code] of [
  ['early', undefined],
  ['first', '5'],
] as const) {
  test(`serveRpc() with streamHeaders ${streamHeaders} says a failure before the first message in ${code === undefined ? 'trailers' : 'the headers'}`, async (t) => {
    const path = join(tempFolder(t), 's.sock')
    const server = await serveRpc({ path, routes, streamHeaders })
    cleanup(t, () => server.close())
    const session = connect('http://localhost', { path } as never)
    cleanup(t, () => session.destroy())
    const ask = async (task: string): Promise<[string | undefined, string | undefined]> => {
      const stream = session.request({
        ':method': 'POST',
        ':path': paths.syncPieces,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      let trailer: string | undefined
      stream.on('trailers', (fields) => {
        trailer = String(fields['grpc-status'])
      })
      stream.end(requests.syncPieces(task))
      const [headers] = (await once(stream, 'response')) as [Record<string, string | undefined>]
      stream.resume()
      await once(stream, 'close')
      return [headers['grpc-status'], trailer]
    }
    assert.deepEqual(await ask('bad'), code === undefined ? [undefined, '5'] : [code, undefined])
    assert.deepEqual(await ask('good'), [undefined, '10'])
  })
}
