import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import type { Agent, buildConnector, Dispatcher } from 'undici'

/** What is used of undici. */
export interface HttpClient {
  readonly Agent: new (options: Agent.Options) => Agent
  readonly buildConnector: (options: buildConnector.BuildOptions) => buildConnector.connector
  /** Resolves with the fields of the answer. */
  readonly request: (
    agent: Agent,
    options: Dispatcher.RequestOptions,
  ) => Promise<Dispatcher.ResponseData>
}

/**
 * Loads undici when an origin is asked for the first time: many peers never ask one. Only the files that are needed, which take half of the memory and of the time of all.
 *
 * @param parts - loads these files. @defaultValue one after another, so that no turn of the event loop is long
 */
export async function loadHttpClient(
  parts: () => Promise<HttpClient> = loadParts,
): Promise<HttpClient> {
  try {
    return await parts()
  } catch {
    // Another release may have them elsewhere; whatever else is wrong, the whole of it meets as well.
    return await loadWhole()
  }
}

type Ask = (this: Agent, options: Dispatcher.RequestOptions) => Promise<Dispatcher.ResponseData>

/** They come without declarations, and in CommonJS, whose loading is one turn each. */
async function loadParts(): Promise<HttpClient> {
  const load = createRequire(import.meta.url)
  const connector = load('undici/lib/core/connect.js') as HttpClient['buildConnector']
  await setImmediate()
  const agent = load('undici/lib/dispatcher/agent.js') as HttpClient['Agent']
  await setImmediate()
  const request = load('undici/lib/api/api-request.js') as Ask
  return {
    Agent: agent,
    buildConnector: connector,
    request: async (by, options) => request.call(by, options),
  }
}

async function loadWhole(): Promise<HttpClient> {
  const { Agent: agent, buildConnector: connector } = await import('undici')
  return {
    Agent: agent,
    buildConnector: connector,
    request: async (by, options) => by.request(options),
  }
}
