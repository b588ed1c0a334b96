/** Ingest: what arrives from a broker is checked, kept on disk or refused with its reason, and receipted. */
import { verify as verifyAsync } from 'node:crypto'
import { promisify } from 'node:util'
import type { EvidenceKeeper, Keeper } from '../evidence/keep.ts'
import { readingsOf, type Summary, summarise } from '../reading/contents.ts'
import { type Signer, toBeSigned } from '../reading/cose.ts'
import { keyObject } from '../reading/ed25519.node.ts'
import { decodeEnvelope, envelopeHash } from '../reading/envelope.ts'
import { framesFault } from '../reading/heard.ts'
import { keyFault, stationId } from '../reading/key.ts'
import { maxRanges, type RefusedEnvelope, signReceipt } from '../reading/receipt.ts'
import { type Refused, refused } from '../reading/refusal.ts'

/** One message under a station's `up` topic, as a broker handed it over. */
export type Arrival = {
  readonly network: string
  readonly station: string
  readonly bytes: Uint8Array
  readonly receivedMs: number
}

/** Sends a signed receipt to a station; where the broker is away it is dropped, the next one is cumulative. */
export type SendReceipt = (station: string, receipt: Uint8Array) => void

export type IngestStatus = {
  readonly received: number
  readonly kept: number
  readonly known: number
  readonly refused: number
  /**
   * Envelopes kept whose newest reading lies further ahead of their receipt than the error in their clock header: that
   * header is wrong. One that came late can be as wrong, which nobody can tell.
   */
  readonly ahead: number
  readonly commits: number
  readonly waiting: number
}

export type Ingest = {
  /** Resolves once the message is kept on disk, known already, or refused on disk: the moment to acknowledge it. */
  offer(arrival: Arrival): Promise<void>
  /** Registers a key, durably; a no-op for a known one. Throws for a key that must not be used. */
  register(publicKey: Uint8Array, nowMs: number): Promise<void>
  /** Refuses everything by that key from now on, durably; what was kept before stays. */
  revoke(publicKey: Uint8Array, nowMs: number): Promise<void>
  /** Sends the station what it has been promised so far. */
  remind(station: string): void
  readonly status: IngestStatus
  /** Resolves when everything offered so far is settled. */
  drain(): Promise<void>
}

// More than this waiting means that the disk or the verifier is behind: brokers are then held back.
const maxWaiting = 4096

// Envelopes verified side by side in the thread pool, and committed together.
const maxGroup = 256

/** How far ahead of the hub's clock a reading may be. */
const maxFutureMs = 5 * 60_000

/** How far the hub's own clock may be off before it blames a station's. */
const ownErrorMs = 1_000

const verify = promisify(
  verifyAsync as (
    algorithm: null,
    data: Uint8Array,
    key: ReturnType<typeof keyObject>,
    signature: Uint8Array,
    callback: (error: Error | null, valid: boolean) => void,
  ) => void,
)

type Checked =
  | { readonly ok: true; readonly summary: Summary; readonly errorMs: number }
  | (Refused & { readonly seq: number | null })

type Waiting = { readonly arrival: Arrival; readonly checked: Promise<Checked>; readonly settle: () => void }

/** The ingest of one network. `now` is the hub's clock (UTC ms); `failed` hears of a disk that does not take evidence. */
export const createIngest = (deps: {
  readonly network: string
  readonly hub: Signer
  readonly evidence: EvidenceKeeper
  readonly sendReceipt: SendReceipt
  readonly now: () => number
  readonly failed: (error: Error) => void
}): Ingest => {
  const { evidence, network } = deps
  const queue: Waiting[] = []
  const idle: (() => void)[] = []
  let running = false
  let [received, kept, known, refusedCount, ahead, commits] = [0, 0, 0, 0, 0, 0]

  const check = async (arrival: Arrival): Promise<Checked> => {
    const { bytes, station } = arrival
    if (arrival.network !== network)
      return { ...refused('wrong-network', `sent to ${arrival.network}, this is ${network}`), seq: null }
    const decoded = decodeEnvelope(bytes)
    if (!decoded.ok) return { ...decoded, seq: null }
    const { envelope } = decoded
    const no = (answer: Refused): Checked => ({ ...answer, seq: envelope.seq })
    const registered = evidence.station(station)
    if (Buffer.from(envelope.kid).toString('hex') !== station)
      return no(refused('wrong-topic', 'the key id is not the topic’s station'))
    if (registered === undefined) return no(refused('unknown-station', 'register its key first'))
    if (registered.revokedMs !== null) return no(refused('revoked', 'this station’s key was revoked'))
    const message = toBeSigned(envelope.protectedBytes, envelope.payload, network)
    if (!(await verify(null, message, keyObject(registered.publicKey), envelope.signature)))
      return no(refused('bad-signature', 'the signature does not fit'))
    const contents = readingsOf(envelope)
    if (!contents.ok) return no(contents)
    const forged = framesFault(contents.frames, network)
    if (forged) return no(forged)
    const summary = summarise(bytes, envelope, contents.readings, contents.frames)
    if (summary.withheld && summary.declaredWithheld === 0)
      return no(refused('bad-payload', 'it holds positions, and its header counts no envelope with any'))
    if (summary.lastMs > deps.now() + maxFutureMs)
      return no(refused('future', `readings of ${new Date(summary.lastMs).toISOString()}`))
    return { ok: true, summary, errorMs: envelope.clock.errorMs }
  }

  /** Decides about one message in order of arrival; returns what its station has to be told. */
  const decide = (arrival: Arrival, checked: Checked): RefusedEnvelope | undefined => {
    const { bytes, receivedMs, station } = arrival
    let answer: Refused & { readonly seq: number | null }
    if (checked.ok) {
      const { summary, errorMs } = checked
      const place: ReturnType<Keeper['place']> = evidence.place(summary)
      if (place === 'known') {
        known++
        return undefined
      }
      if (place === 'new') {
        kept++
        if (summary.lastMs > receivedMs + errorMs + ownErrorMs) ahead++
        evidence.keep(bytes, summary, receivedMs)
        return undefined
      }
      answer = { ...refused(place, `seq ${summary.seq}`), seq: summary.seq }
    } else answer = checked
    refusedCount++
    const { seq, reason, detail } = answer
    evidence.refuse({ receivedMs, station, seq, reason, detail, bytes })
    return seq === null ? undefined : { seq, reason, hash: envelopeHash(bytes) }
  }

  const receipt = (station: string, refusals: readonly RefusedEnvelope[]): void => {
    // An unknown station has nothing to be promised, and no key we could answer to; it hears its refusal all the same.
    const accepted = evidence.promised(station, maxRanges)
    const body = { station, issuedMs: deps.now(), accepted, refused: refusals.slice(-maxRanges) }
    deps.sendReceipt(station, signReceipt(body, network, deps.hub))
  }

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      const group = queue.splice(0, maxGroup)
      const told = new Map<string, RefusedEnvelope[]>()
      for (const { arrival, checked } of group) {
        const refusal = decide(arrival, await checked)
        if (arrival.network !== network) continue
        const list = told.get(arrival.station) ?? []
        if (refusal) list.push(refusal)
        told.set(arrival.station, list)
      }
      await evidence.commit()
      commits++
      for (const { settle } of group) settle()
      for (const [station, refusals] of told) receipt(station, refusals)
    }
  }

  const start = (): void => {
    if (running) return
    running = true
    // One turn later: what arrives in the same read of the socket shares the commit.
    setImmediate(() => {
      run().then(
        () => {
          running = false
          if (queue.length > 0) start()
          else for (const done of idle.splice(0)) done()
        },
        (error: Error) => deps.failed(error),
      )
    })
  }

  return {
    offer: (arrival) => {
      received++
      if (queue.length >= maxWaiting)
        return Promise.reject(new Error(`${maxWaiting} messages wait for the disk; not taking more`))
      const { promise, resolve } = Promise.withResolvers<void>()
      queue.push({ arrival, checked: check(arrival), settle: resolve })
      start()
      return promise
    },
    register: async (publicKey, nowMs) => {
      if (evidence.station(stationId(publicKey)) !== undefined) return
      const fault = keyFault(publicKey)
      if (fault !== undefined) throw new Error(`this public key cannot be registered: ${fault}`)
      evidence.register(publicKey, nowMs)
      await evidence.commit()
    },
    revoke: async (publicKey, nowMs) => {
      const known = evidence.station(stationId(publicKey))
      if (known === undefined || known.revokedMs !== null) return
      evidence.revoke(known.station, nowMs)
      await evidence.commit()
    },
    remind: (station) => {
      if (evidence.station(station) !== undefined) receipt(station, [])
    },
    get status() {
      return { received, kept, known, refused: refusedCount, ahead, commits, waiting: queue.length }
    },
    drain: () =>
      running
        ? new Promise((resolve) => {
            idle.push(resolve)
          })
        : Promise.resolve(),
  }
}
