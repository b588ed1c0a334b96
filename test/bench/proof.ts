import { join } from 'node:path'
import { toHex } from '#gateway/reading/bytes.ts'
import { verify } from '#gateway/reading/ed25519.node.ts'
import { sha256 } from '#gateway/reading/sha256.node.ts'
import { bundleForBrowser, chromiumPath, openPage } from '#test/chromium.ts'
import { type Measurement, median, type Row, row } from './measurement.ts'
import { counts, makeCases, type ProofCase } from './proof-cases.ts'
import { type ProofRates, proofTurns } from './proof-turns.ts'
import { batch } from './samples.ts'

/** What a page is asked to do; bytes as hex. */
export type PageWork = {
  readonly rounds: number
  readonly turnMs: number
  readonly cases: readonly {
    readonly readings: number
    readonly bundle: string
    readonly publicKey: string
    readonly envelopes: readonly (readonly [bytes: string, message: string, signature: string])[]
  }[]
}

const turnMs = 60
// A page only has the time of day, which counts what else the machine does: longer turns even that out.
const pageTurnMs = 400
const pageTimeoutMs = 300_000

const named = (readings: number): string =>
  `${readings.toLocaleString('en-US')} ${readings === 1 ? 'reading' : 'readings'}`

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const inPage = async (cases: readonly ProofCase[], rounds: number): Promise<ProofRates[]> => {
  const { script } = await bundleForBrowser(join(import.meta.dirname, 'proof-page.ts'))
  const work: PageWork = {
    rounds,
    turnMs: pageTurnMs,
    cases: cases.map(({ readings, bundle, publicKey, envelopes }) => ({
      readings,
      bundle: toHex(bundle),
      publicKey: toHex(publicKey),
      envelopes: envelopes.map(
        ({ bytes, message, signature }) => [toHex(bytes), toHex(message), toHex(signature)] as const,
      ),
    })),
  }
  await using page = await openPage(script, () => JSON.stringify(work))
  const late = AbortSignal.timeout(pageTimeoutMs)
  const told = await Promise.race([
    page.told,
    new Promise<never>((_, reject) => late.addEventListener('abort', () => reject(late.reason))),
  ])
  const rates = JSON.parse(told) as ProofRates[] | { failed: string }
  if ('failed' in rates) throw new Error(`the page failed: ${rates.failed}`)
  return rates
}

// Of one reading the statement of its batch is most of the work, so only the longest has an aim.
const most = Math.max(...counts)

type Platform = {
  readonly where: string
  readonly by: string
  readonly clock: string
  readonly least: number
}

const timed = (
  { where, by, clock, least }: Platform,
  readings: number,
  { ours, baseline }: ProofRates,
): Row =>
  row(`${named(readings)}, ${where}`, ours, baseline, {
    ...(readings === most ? { aim: { least } } : {}),
    note: `${(1000 / median(ours)).toFixed(2)} ms ${clock} a bundle; the baseline is by ${by}`,
  })

const inNode = { where: 'Node', by: 'OpenSSL', clock: 'of CPU', least: 0.5 }
const inChromium = { where: 'Chromium', by: 'plain JavaScript', clock: 'of time', least: 0.7 }

/** What a proof weighs, and what checking it costs a buyer, in Node and in a browser. */
export const proving: Measurement = {
  name: 'proof',
  title: `A proof bundle, verified whole: one station of 100, envelopes of ${batch} readings, a batch an hour`,
  baseline: 'SHA-256 and Ed25519 of the envelopes that hold these readings, and nothing else',
  unit: 'bundles/s',
  run: async ({ rounds, share }) => {
    const cases = await makeCases()
    const sizes = cases.map(({ readings, bundle, envelopes }) => {
      const bare = envelopes.reduce((sum, { bytes }) => sum + bytes.length, 0)
      return row(`${named(readings)}: size`, [bundle.length], [bare], {
        unit: 'bytes',
        ...(readings === most ? { aim: { most: 5 } } : {}),
        note: `${(bundle.length / readings).toFixed(1)} bytes a reading; the baseline is the envelopes’ own size`,
      })
    })
    const turns = Math.max(3, Math.ceil(rounds * share))
    const node: Row[] = []
    for (const one of cases) {
      const rates = await proofTurns(one, { clockMs: cpuMs, sha256, verify }, turns, turnMs)
      node.push(timed(inNode, one.readings, rates))
    }
    if (chromiumPath === undefined) return [...sizes, ...node]
    const rates = await inPage(cases, turns)
    const page = cases.map(({ readings }, at) => timed(inChromium, readings, rates[at]!))
    return [...sizes, ...node, ...page]
  },
}
