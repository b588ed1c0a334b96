/** A station without sensors: its outbox, and a relay to a broker. */
import { onTestFinished } from 'vitest'
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

/** Runs until the test ends; `emit` puts so many envelopes of one reading each into the outbox. */
export const startStation = async (
  url: string,
  hubKey: Parameters<typeof createRelay>[0]['hubKey'],
  receiptTimeoutMs = 20_000,
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
    connect: mqttConnector({
      url,
      clientId: station,
      username: station,
      password: () => signToken(network, signer, Date.now()),
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
  return { outbox, relay, station, emit }
}
