/** The hub's parts that come in two kinds: embedded, with nothing to install, and the real thing. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Account } from './anchor/account.ts'
import type { Chain } from './anchor/chain.ts'
import { openEmbeddedChain } from './anchor/embedded.ts'
import { openFacade } from './anchor/facade.ts'
import { httpChain } from './anchor/http.ts'
import { type HubConfig, readSecret } from './config.ts'
import { openEmbeddedBroker } from './ingest/aedes.ts'
import type { Broker, BrokerEvents } from './ingest/broker.ts'
import { openExternalBroker } from './ingest/mqtt.ts'
import { openJournal } from './journal/open.ts'
import { openEmbeddedStore } from './store/embedded.ts'
import { openInfluxStore } from './store/influx.ts'
import type { Store } from './store/store.ts'

type Log = (message: string) => void

/** Something under a name only where it is configured. */
const optional = <Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [key in Name]?: Value } => (value === undefined ? {} : ({ [name]: value } as { [key in Name]: Value }))

const secretIn = (file: string | undefined): string | undefined =>
  file === undefined ? undefined : readSecret(file)

/** SQLite under the directory, or InfluxDB 1.x. */
export const openStore = async (config: HubConfig['store'], directory: string, log: Log): Promise<Store> => {
  const { influxUrl: url, database, username, passwordFile } = config
  if (url === undefined) return openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  return openInfluxStore({
    url,
    database,
    ...optional('username', username),
    ...optional('password', secretIn(passwordFile)),
    onQuarantine: (reading, error) =>
      log(`reading ${reading.station}/${reading.seq}/${reading.place} is not in the store: ${error.message}`),
  })
}

// The embedded chain's money: enough for longer than its journal should grow.
const fundedWei = 10n ** 24n

/** EDR in this process with a JSON-RPC door, or any EVM chain; `rpcUrl` is that door, null for another's chain. */
export const openChain = async (
  config: HubConfig['chain'],
  directory: string,
  account: Account,
  log: Log,
  scope: AsyncDisposableStack,
): Promise<{ chain: Chain; rpcUrl: string | null }> => {
  const { rpcUrl, host, port } = config
  if (rpcUrl !== undefined) return { chain: httpChain({ url: rpcUrl }), rpcUrl: null }
  const journal = scope.use(
    await openJournal({ directory: join(directory, 'chain'), maxRecordBytes: 1 << 20 }),
  )
  const chain = scope.use(
    await openEmbeddedChain({
      journal,
      projectRoot: import.meta.dirname,
      funded: [{ address: account.address, balanceWei: fundedWei }],
      nowMs: Date.now,
      onGrowth: (count) =>
        log(`the embedded chain holds ${count} transactions; starting gets slow: use a real one`),
    }),
  )
  const facade = scope.use(await openFacade(chain, { host, port }))
  return { chain, rpcUrl: facade.url }
}

/** aedes in this process, or any MQTT broker; `url` is where stations connect. What is sold is not given away. */
export const openBroker = async (
  config: HubConfig['broker'],
  network: string,
  events: BrokerEvents,
  reconnected: () => void,
  warn: Log,
  sells: boolean,
): Promise<{ broker: Broker; url: string }> => {
  const { url, username, passwordFile, caFile, host, port, anonymousReaders = !sells } = config
  const now = Date.now
  if (url === undefined) {
    if (!/^(127\.|localhost$|::1$)/.test(host))
      warn(
        `the embedded broker listens on ${host} without TLS; beyond a trusted network, set hub.broker.url to one with it`,
      )
    const broker = await openEmbeddedBroker({ host, port, network, events, now, anonymousReaders })
    return { broker, url: `mqtt://${host}:${broker.port}` }
  }
  const broker = await openExternalBroker({
    url,
    ...optional('username', username),
    ...optional('password', secretIn(passwordFile)),
    ...optional('ca', caFile === undefined ? undefined : readFileSync(caFile, 'utf8')),
    events,
    now,
    warn,
    reconnected,
  })
  return { broker, url }
}
