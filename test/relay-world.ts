/** A station without sensors, its outbox and a relay to a broker; and a hub without store and market. */
import { onTestFinished } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { openEmbeddedBroker } from '#gateway/ingest/aedes.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { topicsOf } from '#gateway/reading/topics.ts'
import { mqttConnector } from '#gateway/relay/mqtt.ts'
import { createRelay } from '#gateway/relay/relay.ts'
import { aReading, envelopeChain, network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

export const journalAt = (directory: string) => openJournal({ directory, segmentBytes: 1 << 18 })

/** A hub's ingest behind its embedded broker, on a free port; `silent` ones never send a receipt. */
export const startHub = async (
  port = 0,
  directory = temporaryDirectory(),
  hub = newSigner(),
  silent = false,
  now = Date.now,
) => {
  const evidence = await openEvidence({ directory, openJournal: journalAt })
  const ingest = createIngest({
    network,
    hub,
    evidence,
    now,
    sendReceipt: (station, bytes) => {
      if (!silent) broker.publish(topicsOf(network, station).receipt, bytes)
    },
    failed: (error) => {
      throw error
    },
  })
  const broker = await openEmbeddedBroker({
    host: '127.0.0.1',
    port,
    network,
    anonymousReaders: true,
    now: Date.now,
    events: {
      envelope: ingest.offer,
      hello: (_station, key) => ingest.register(key, Date.now()),
      listening: ingest.remind,
    },
  })
  let open = true
  const close = async () => {
    if (!open) return
    open = false
    await broker[Symbol.asyncDispose]()
    await ingest.drain()
    await evidence[Symbol.asyncDispose]()
  }
  onTestFinished(close)
  return { hub, evidence, ingest, broker, directory, close }
}

/** Runs until the test ends; `emit` puts so many envelopes of one reading each into the outbox. */
export const startStation = async (
  url: string,
  hubKey: Parameters<typeof createRelay>[0]['hubKey'],
  receiptTimeoutMs = 20_000,
  login: { readonly username?: string; readonly password?: string; readonly ca?: string } = {},
) => {
  const signer = newSigner()
  const station = stationId(signer.publicKey)
  const outbox = await openOutbox({
    directory: temporaryDirectory(),
    openJournal: journalAt,
    receiptTimeoutMs,
  })
  const relay = createRelay({
    network,
    topics: topicsOf(network, station),
    outbox,
    hubKey,
    describe: () => ({ publicKey: toHex(signer.publicKey) }),
    random: () => 0,
    longestBackoffMs: 200,
    connect: mqttConnector({
      url,
      clientId: station,
      username: login.username ?? station,
      password: (nowMs) => login.password ?? signToken(network, signer, nowMs),
      ...(login.ca === undefined ? {} : { ca: login.ca }),
    }),
  })
  const stop = new AbortController()
  const running = relay.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
    await outbox[Symbol.asyncDispose]()
  })
  const next = envelopeChain(signer)
  const emit = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) outbox.append(next([aReading(Date.now())]))
    await outbox.commit()
  }
  return {
    outbox,
    relay,
    station,
    publicKey: signer.publicKey,
    emit,
    running,
    stop: () => stop.abort(),
  }
}
