import { verify } from 'node:crypto'
import { join } from 'node:path'
import { toBeSigned } from '#gateway/reading/cose.ts'
import { keyObject } from '#gateway/reading/ed25519.node.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { type Measurement, median, row } from './measurement.ts'
import { startHub, startPart } from './processes.ts'
import type { PublisherPlan } from './publisher-process.ts'
import { cpuRate, takeTurns } from './rounds.ts'
import { batch, envelopeChain, network, newSigner, weather } from './samples.ts'

const stations = 20
const envelopesPerRound = 60

// All within the hour before now: nothing is from the future, and the newest are live to the hub.
const intervalMs = 20
const spanMs = 14 * 60_000

/** Verifications a CPU second, as many readings as they vouch for: nothing that checks signatures is faster. */
const signatureLimit = (): ((cpuMs: number) => number) => {
  const signer = newSigner()
  const decoded = decodeEnvelope(envelopeChain(signer)(weather(batch, Date.now(), 30_000)))
  if (!decoded.ok) throw new Error(decoded.detail)
  const { protectedBytes, payload, signature } = decoded.envelope
  const message = toBeSigned(protectedBytes, payload, network)
  const key = keyObject(signer.publicKey)
  return (cpuMs) => batch * cpuRate(cpuMs, () => void verify(null, message, key, signature))
}

type Target = {
  readonly mqtt: string
  readonly hubKey: string
  readonly cpu: () => Promise<number>
  readonly settled: (readings: number) => Promise<void>
}

/** A publisher for one hub; each call is a round and answers readings a CPU second of the hub, and by the wall clock. */
const load = async (
  { mqtt, hubKey, cpu, settled }: Target,
  envelopes: number,
  scope: AsyncDisposableStack,
) => {
  const publisher = scope.use(await startPart('publisher'))
  const plan: PublisherPlan = { mqtt, hubKey, stations, startMs: Date.now() - spanMs, intervalMs }
  await publisher.ask('connect', plan)
  let sent = 0
  const walls: number[] = []
  const round = async (): Promise<number> => {
    await publisher.ask('prepare', envelopes)
    const readings = stations * envelopes * batch
    sent += readings
    const before = await cpu()
    const ms = await publisher.ask<number>('send')
    await settled(sent)
    const usedUs = (await cpu()) - before
    walls.push((readings * 1000) / ms)
    return (readings * 1e6) / usedUs
  }
  return { round, walls }
}

/** From MQTT to a signed receipt, everything checked and on disk, beside the signature check alone. */
export const ingest: Measurement = {
  name: 'ingest',
  title: `Ingest over the embedded broker, ${stations} stations, envelopes of ${batch}`,
  baseline: `crypto.verify alone, ${batch} readings to a signature`,
  unit: 'readings/CPU-s',
  run: async ({ rounds, share, directory }) => {
    await using scope = new AsyncDisposableStack()
    const part = scope.use(await startPart('ingest'))
    const ends = await part.ask<{ mqtt: string; hubKey: string }>('start', directory)
    const hub = scope.use(await startHub(join(directory, 'hub'), network))
    const envelopes = Math.ceil(envelopesPerRound * share)
    const evidenceOnly = await load(
      { ...ends, cpu: () => part.ask<number>('cpu'), settled: () => Promise.resolve() },
      envelopes,
      scope,
    )
    const whole = await load({ ...hub, settled: hub.stored }, envelopes, scope)
    const limit = signatureLimit()
    const { own, all, raw } = await takeTurns(rounds, {
      own: evidenceOnly.round,
      all: whole.round,
      raw: () => limit(200 * share),
    })
    const said = (rates: readonly number[], walls: readonly number[]): string =>
      `${(1e6 / median(rates)).toFixed(1)} us of CPU a reading; ` +
      `${Math.round(median(walls)).toLocaleString('en-US')} readings/s by the clock, publishers on the same cores`
    return [
      row('broker, checks, evidence, receipts', own, raw, { note: said(own, evidenceOnly.walls) }),
      row('the whole hub: scored and stored too', all, raw, { note: said(all, whole.walls) }),
    ]
  },
}
