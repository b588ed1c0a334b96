/** The network half: broker -> ingest -> evidence -> quality -> store, anchor -> chain, market, in the order data travels. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { accountOf } from './anchor/account.ts'
import { openAnchorBook, runAnchor } from './anchor/anchor.ts'
import { openBroker, openChain, openStore } from './backends.ts'
import { type HubConfig, readSecret } from './config.ts'
import type { Broker, BrokerEvents } from './ingest/broker.ts'
import { createIngest } from './ingest/ingest.ts'
import { meterIngest } from './ingest/metrics.ts'
import { verifierFault } from './ingest/verifier.ts'
import { openSecret } from './keys.ts'
import { openExports } from './market/exports/exports.ts'
import { homeAssistant } from './market/home-assistant.ts'
import { publishLive } from './market/live.ts'
import { createApi, type PartState } from './market/market.ts'
import { run as serve } from './market/serve.ts'
import { openSubscriptionDesk, type SubscriptionDesk } from './market/subscriptions/subscriptions.ts'
import { openTail } from './market/tail.ts'
import { prepareX402 } from './paying.ts'
import type { Scorer } from './quality/quality.ts'
import { openScoreStates } from './quality/states.ts'
import { fromHex, toHex } from './reading/bytes.ts'
import type { Signer } from './reading/cose.ts'
import { verify } from './reading/ed25519.node.ts'
import { hubTopic, topicsOf } from './reading/topics.ts'
import { defaultPrices } from './sales/price.ts'
import { openStripe } from './sales/stripe.ts'
import { openSelling } from './selling.ts'
import { runFeed } from './store/feed.ts'
import { openHubEvidence, scoringWith } from './views.ts'

export type HubOptions = {
  readonly config: HubConfig
  readonly network: string
  /** Where evidence and everything made of it lives. */
  readonly directory: string
  readonly signer: Signer
  readonly version: string
  readonly log: (message: string) => void
  /** Wraps each step of starting, to show it. */
  readonly step: <T>(title: string, work: () => Promise<T>) => Promise<T>
}

export type Hub = {
  readonly httpUrl: string
  /** Where stations connect. */
  readonly mqttUrl: string
  /** JSON-RPC of the embedded chain; null with an external one. */
  readonly rpcUrl: string | null
  readonly publicKey: Uint8Array
  /** Resolves when the hub has stopped; rejects when a part fails for good. */
  readonly done: Promise<void>
}

const dayMs = 86_400_000

const gweiWei = 1_000_000_000

/** Starts everything and returns when it serves; it runs until the signal aborts. */
export const startHub = async (options: HubOptions, signal: AbortSignal): Promise<Hub> => {
  const { config, network, directory, signer, log, step } = options
  const wrong = verifierFault(verify)
  if (wrong !== undefined)
    throw new Error(`this Node's Ed25519 cannot be relied on (${wrong}).\nInstall Node 24.21 or newer.`)
  const stop = new AbortController()
  const running = AbortSignal.any([signal, stop.signal])
  const failed = (error: unknown): void => stop.abort(error)
  const scope = new AsyncDisposableStack()
  const parts: Promise<void>[] = []
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const account = accountOf(openSecret(config.chain.keyFile ?? join(directory, 'chain.key')))
    const { chain, rpcUrl } = await step('Chain', () =>
      openChain(config.chain, directory, account, log, scope),
    )

    const { market, http: httpConfig } = config
    // Before anchoring begins: on the embedded chain both are paid from one account.
    const openRail =
      market.sell && market.x402.enabled
        ? await step('Payments', () =>
            prepareX402({
              config: market.x402,
              chain,
              embedded: rpcUrl !== null,
              anchorer: account,
              maxFeeGwei: config.chain.maxFeeGwei,
              directory,
              log,
            }),
          )
        : undefined

    const evidence = scope.use(await step('Evidence', () => openHubEvidence(directory)))
    const book = scope.use(openAnchorBook(join(directory, 'anchor.sqlite')))
    const store = scope.use(await step('Store', () => openStore(config.store, directory, log)))
    const states = scope.use(openScoreStates(join(directory, 'quality.sqlite')))

    let broker: Broker | undefined
    let desk: SubscriptionDesk | undefined
    const ingest = createIngest({
      network,
      hub: signer,
      evidence,
      now: Date.now,
      failed,
      sendReceipt: (station, receipt) => broker?.publish(topicsOf(network, station).receipt, receipt),
    })
    for (const key of config.stations) await ingest.register(fromHex(key)!, Date.now())
    for (const key of config.revoked) await ingest.revoke(fromHex(key)!, Date.now())
    const events: BrokerEvents = {
      envelope: ingest.offer,
      hello: async (station, publicKey) => {
        if (evidence.station(station) !== undefined) return
        if (config.registration === 'list') throw new Error(`station ${station} is not on the list`)
        // Keys cost nothing to make: strangers must not fill the disk with them.
        if (evidence.stations().length >= config.maxStations)
          throw new Error(
            `${config.maxStations} stations are registered, no more are let in (hub.maxStations)`,
          )
        await ingest.register(publicKey, Date.now())
      },
      listening: ingest.remind,
      login: (login, password) => desk?.isLogin(login, password) === true,
      heeded: (login) => desk?.heeded(login),
    }
    const announce = (): void => {
      const said = JSON.stringify({ publicKey: toHex(signer.publicKey) })
      broker?.publish(hubTopic(network), said, { retain: true })
    }
    // Runs after the broker has closed: what it had taken is decided on before the evidence closes.
    scope.defer(ingest.drain)
    const opened = await step('Broker', () =>
      openBroker(config.broker, network, events, announce, log, config.market.sell),
    )
    broker = scope.use(opened.broker)
    const { url: mqttUrl } = opened
    announce()

    // How far the store has come is the feed's to say.
    const tail = openTail({ evidence, store }, 0)
    let storeError: string | undefined
    const scoring = scoringWith(states)
    let scorer: Scorer | undefined
    const metrics = new Registry()
    const discover = homeAssistant({
      network,
      version: options.version,
      publish: (topic, message) => broker?.publish(topic, message, { retain: true }),
    })
    parts.push(
      runFeed(
        {
          evidence,
          store,
          ...scoring,
          scorer: () => {
            scorer = scoring.scorer()
            return scorer
          },
          stored: (readings, reached) => {
            tail.stored(readings, reached)
            desk?.grown()
            storeError = undefined
            discover(readings)
            publishLive(readings, {
              network,
              hasReaders: () => broker?.hasReaders === true,
              publish: (topic, message) => broker?.publish(topic, message),
              nowMs: Date.now,
            })
          },
          unavailable: (error) => {
            if (storeError === undefined) log(`the store is away, evidence goes on: ${error.message}`)
            storeError = error.message
          },
        },
        running,
      ),
      runAnchor(
        {
          book,
          evidence,
          chain,
          account,
          clock: { nowMs: Date.now, sleep: (ms, over) => sleep(ms, undefined, { signal: over }) },
        },
        {
          network,
          maxAgeMs: config.anchor.maxAgeS * 1000,
          firstAgeMs: config.anchor.firstAgeS * 1000,
          maxLeaves: config.anchor.maxLeaves,
          capWei: BigInt(Math.round(config.chain.maxFeeGwei * gweiWei)),
          confirmations: config.chain.confirmations,
          ...(config.chain.contract === undefined
            ? {}
            : { contract: config.chain.contract as `0x${string}` }),
          ...(rpcUrl === null ? {} : { allowReset: true, pollMs: 500 }),
        },
        running,
      ),
    )

    meterIngest(metrics, ingest)
    collectDefaultMetrics({ register: metrics })

    const publicUrl = httpConfig.publicUrl === undefined ? {} : { publicUrl: httpConfig.publicUrl }
    const { secretKeyFile, webhookSecretFile, successUrl, cancelUrl, apiUrl } = market.stripe
    const cards =
      market.sell && secretKeyFile && webhookSecretFile && successUrl && cancelUrl
        ? await openStripe({
            secretKey: readSecret(secretKeyFile),
            webhookSecret: readSecret(webhookSecretFile),
            successUrl,
            cancelUrl,
            apiUrl,
          })
        : undefined
    const selling = !market.sell
      ? undefined
      : scope.use(
          openSelling({
            path: join(directory, 'sales.sqlite'),
            network,
            hub: signer,
            prices: {
              ...defaultPrices,
              baseMicroUsd: BigInt(market.baseMicroUsd),
              valueMicroUsd: BigInt(market.valueMicroUsd),
              ownerPermille: market.ownerPermille,
            },
            factor: (station) => evidence.profile(station)?.pricePermille ?? 1000,
            sla: {
              latestMaxAgeMs: market.sla.latestMaxAgeS * 1000,
              completenessPermille: market.sla.completenessPermille,
              mostCreditPermille: market.sla.mostCreditPermille,
            },
            starterMicroUsd: BigInt(market.starterMicroUsd),
            ...(openRail === undefined ? {} : { openRail }),
            ...publicUrl,
            nowMs: Date.now,
            ...(cards === undefined ? {} : { cards }),
          }),
        )
    const exports = scope.use(
      openExports({
        directory: join(directory, 'exports'),
        limits: {
          maxRows: config.exports.maxRows,
          maxBytes: config.exports.maxMegabytes * 1e6,
          keptMs: config.exports.keepDays * dayMs,
        },
        store,
        anchors: book,
        evidence,
        ...(selling === undefined ? {} : { till: selling.till }),
        nowMs: Date.now,
        report: (error) => log(`making an export failed: ${(error as Error).stack ?? String(error)}`),
      }),
    )
    parts.push(exports.run(running))
    const rail = selling?.till.rail
    if (rail !== undefined) parts.push(rail.run(running))

    if (selling !== undefined) {
      desk = openSubscriptionDesk({
        till: selling.till,
        ...{ evidence, tail, anchors: book, network, hub: signer, version: options.version },
        ...publicUrl,
        webhook: {
          privateAddresses: market.webhooks.privateAddresses,
          ...(market.webhooks.caFile === undefined
            ? {}
            : { ca: readFileSync(market.webhooks.caFile, 'utf8') }),
        },
        ...(broker.logins === undefined ? {} : { mqtt: { logins: broker.logins, url: mqttUrl } }),
        report: (error) => log(`a subscription waits: ${(error as Error).stack ?? String(error)}`),
        nowMs: Date.now,
      })
      parts.push(desk.run(running))
    }

    const health = (): PartState[] => {
      const anchoring = book.status()
      const anchored = anchoring.state !== 'unreachable' && anchoring.state !== 'stopped'
      return [
        { name: 'broker', kind: broker!.kind, ok: broker!.connected },
        {
          name: 'store',
          kind: store.kind,
          ok: storeError === undefined,
          ...(storeError ? { detail: storeError } : {}),
        },
        {
          name: 'chain',
          kind: chain.name,
          ok: anchored,
          ...(anchoring.detail ? { detail: anchoring.detail } : {}),
        },
      ]
    }
    const app = createApi({
      network,
      hubKey: signer.publicKey,
      version: options.version,
      store,
      evidence,
      anchors: book,
      batchMaxAgeMs: config.anchor.maxAgeS * 1000,
      firstBatchMaxAgeMs: config.anchor.firstAgeS * 1000,
      nowMs: Date.now,
      health,
      metrics,
      exports,
      limits: config.http,
      live: { tail, stopping: running },
      paces: (station) => scorer?.paces(station) ?? [],
      ...(selling === undefined ? {} : { till: selling.till }),
      ...(desk === undefined ? {} : { desk }),
      verifyBundle: async (bytes) => (await import('./verify/verify.ts')).verifyBundle(bytes),
      ...publicUrl,
      report: (error) => log(`answering a query failed: ${(error as Error).stack ?? String(error)}`),
    })
    const http = Promise.withResolvers<number>()
    parts.push(
      serve({ app, host: config.http.host, port: config.http.port, listening: http.resolve }, running),
    )
    for (const part of parts) part.catch(failed)
    const httpPort = await step('Query API', () => Promise.race([http.promise, parts.at(-1)!.then(() => 0)]))

    // What is announced to a hub that stops comes from parts that stop first; the rest is closed in reverse order.
    const done = Promise.allSettled(parts).then(async (results) => {
      await scope.disposeAsync()
      const broken = results.find((result) => result.status === 'rejected')
      if (broken) throw broken.reason
      if (stop.signal.aborted) throw stop.signal.reason
    })
    return {
      httpUrl: `http://${config.http.host}:${httpPort}`,
      mqttUrl,
      rpcUrl,
      publicKey: signer.publicKey,
      done,
    }
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(parts)
    await scope.disposeAsync()
    throw error
  }
}
