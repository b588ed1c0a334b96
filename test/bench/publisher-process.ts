/** Stations without devices: envelopes signed beforehand, sent as fast as the broker acknowledges them. */
import mqtt, { type MqttClient } from 'mqtt'
import { fromHex } from '#gateway/reading/bytes.ts'
import { stationId } from '#gateway/reading/key.ts'
import { verifyReceipt } from '#gateway/reading/receipt.ts'
import { signToken } from '#gateway/reading/token.ts'
import { topicsOf } from '#gateway/reading/topics.ts'
import { answerQuestions } from './processes.ts'
import { batch, envelopeChain, network, newSigner, weather } from './samples.ts'

export type PublisherPlan = {
  readonly mqtt: string
  readonly hubKey: string
  readonly stations: number
  /** Time of the first reading, UTC ms, and between one and the next. */
  readonly startMs: number
  readonly intervalMs: number
}

// Envelopes of one station on their way at once.
const windowSize = 16

type Station = {
  readonly client: MqttClient
  readonly topic: string
  readonly seal: ReturnType<typeof envelopeChain>
  sealed: number
  ready: Buffer[]
  /** The newest envelope of which a receipt says that it is kept. */
  receipted: number
  heard: () => void
}

let plan: PublisherPlan
let stations: Station[] = []

const connect = async (): Promise<Station> => {
  const signer = newSigner()
  const id = stationId(signer.publicKey)
  const { up, receipt } = topicsOf(network, id)
  const client = await mqtt.connectAsync(plan.mqtt, {
    clientId: id,
    username: id,
    password: signToken(network, signer, Date.now()),
    reconnectPeriod: 0,
  })
  const station: Station = {
    client,
    topic: up,
    seal: envelopeChain(signer),
    sealed: 0,
    ready: [],
    receipted: 0,
    heard: () => undefined,
  }
  const hubKey = fromHex(plan.hubKey)!
  client.on('message', (_topic, payload) => {
    const verified = verifyReceipt(new Uint8Array(payload), network, hubKey)
    if (!verified.ok) throw new Error(`a receipt is not the hub's: ${verified.detail}`)
    if (verified.receipt.refused.length > 0)
      throw new Error(`an envelope was refused: ${verified.receipt.refused[0]!.reason}`)
    station.receipted = verified.receipt.accepted.at(-1)?.last ?? 0
    station.heard()
  })
  await client.subscribeAsync(receipt, { qos: 1 })
  return station
}

/** Signs the next `envelopes` of every station. */
const prepare = (envelopes: number): void => {
  for (const [at, station] of stations.entries())
    for (let more = 0; more < envelopes; more++) {
      const startMs = plan.startMs + station.sealed * batch * plan.intervalMs
      const readings = weather(batch, startMs, plan.intervalMs, 1000 * at + station.sealed)
      station.ready.push(Buffer.from(station.seal(readings)))
      station.sealed++
    }
}

const sendAll = async (station: Station): Promise<void> => {
  const senders = Array.from({ length: windowSize }, async () => {
    for (let next = station.ready.shift(); next; next = station.ready.shift())
      await station.client.publishAsync(station.topic, next, { qos: 1 })
  })
  await Promise.all(senders)
  while (station.receipted < station.sealed)
    await new Promise<void>((resolve) => {
      station.heard = resolve
    })
}

answerQuestions({
  connect: async (given: PublisherPlan) => {
    plan = given
    stations = await Promise.all(Array.from({ length: plan.stations }, connect))
  },
  prepare,
  /** Sends what was prepared; answers the ms until the hub's receipts covered all of it. */
  send: async () => {
    const startedMs = performance.now()
    await Promise.all(stations.map(sendAll))
    return performance.now() - startedMs
  },
})
