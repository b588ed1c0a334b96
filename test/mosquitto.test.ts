import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import type { Broker } from '#gateway/ingest/broker.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { openExternalBroker } from '#gateway/ingest/mqtt.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { hubTopic, topicsOf } from '#gateway/reading/topics.ts'
import { hubKeyOf } from '#gateway/relay/hub-key.ts'
import { mosquittoHint, mosquittoPath, startMosquitto } from '#test/mosquitto.ts'
import { journalAt, startStation } from '#test/relay-world.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

describe.skipIf(!mosquittoPath)(`mosquitto as broker${mosquittoHint}`, () => {
  test('a station registers by its status, learns the hub’s key, and all arrives although the broker is killed', async () => {
    const broker = await startMosquitto(temporaryDirectory())
    onTestFinished(() => broker[Symbol.asyncDispose]())
    const hubSigner = newSigner()
    const evidence = await openEvidence({ directory: temporaryDirectory(), openJournal: journalAt })
    onTestFinished(() => evidence[Symbol.asyncDispose]())
    let external: Broker | undefined
    const ingest = createIngest({
      network,
      hub: hubSigner,
      evidence,
      now: Date.now,
      sendReceipt: (station, bytes) => external?.publish(topicsOf(network, station).receipt, bytes),
      failed: (error) => {
        throw error
      },
    })
    const announce = () =>
      external?.publish(hubTopic(network), JSON.stringify({ publicKey: toHex(hubSigner.publicKey) }), {
        retain: true,
      })
    external = await openExternalBroker({
      url: broker.url,
      now: Date.now,
      warn: () => undefined,
      reconnected: announce,
      events: {
        envelope: ingest.offer,
        hello: (_station, key) => ingest.register(key, Date.now()),
        listening: ingest.remind,
      },
    })
    onTestFinished(() => external![Symbol.asyncDispose]())
    announce()

    let pinned: string | undefined
    const hubKey = hubKeyOf(network, undefined, {
      read: () => pinned,
      write: (hex) => {
        pinned = hex
      },
    })
    const { outbox, station, emit } = await startStation(broker.url, hubKey, 2000)
    await emit(20)
    await vi.waitFor(() => expect(outbox.status).toMatchObject({ pending: 0, accepted: 20 }), 15_000)
    expect(pinned).toBe(toHex(hubSigner.publicKey))
    await emit(20)
    await broker.kill() // its memory goes with it: acknowledged and unacknowledged alike
    await emit(20)
    await broker.start()
    await vi.waitFor(() => expect(outbox.status.pending).toBe(0), 25_000)
    expect(evidence.progress(station)).toMatchObject({ kept: [[1, 60]], gaps: [] })
    expect(ingest.status.refused).toBe(0)
  })
})
