/** A bundle checked by another language and another implementation of Ed25519. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { buildBundle } from '#gateway/market/bundle.ts'
import { encodeBundle } from '#gateway/reading/bundle.ts'
import { decodeBundle } from '#gateway/reading/bundle-decode.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { type SalesReceipt, signSale } from '#gateway/reading/sale.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { network, openWorld } from './bundle-world.ts'
import { signerOf, weather } from './reading/samples.ts'
import { newSigner } from './station.ts'
import { temporaryDirectory } from './temporary.ts'

const script = join(import.meta.dirname, 'check_bundle.py')

const found = ['python3', 'openssl'].every((program) => spawnSync(program, ['--help']).error === undefined)
if (!found) console.warn('skipped: python3 and openssl are not installed (apt-get install python3 openssl)')

const checked = (bytes: Uint8Array) => {
  const file = join(temporaryDirectory(), 'proof.cbor')
  writeFileSync(file, bytes)
  const { status, stdout, stderr } = spawnSync('python3', [script, file], { encoding: 'utf8' })
  return { status, lines: stdout.trimEnd().split('\n'), stderr }
}

describe.skipIf(!found)('with the standard library of Python and openssl alone', () => {
  const startMs = 1_763_700_000_000
  const world = openWorld()
  const stations = [1, 2, 3].map((byte) => world.addStation(signerOf(byte)))
  for (let at = 0; at < 12; at++) {
    for (const station of stations) world.sign(station, weather(4, startMs + at * 120_000, 'bme280', at))
    if (at === 3)
      for (const station of stations)
        world.sign(station, [
          {
            sensor: 'gnss',
            model: 'nmea0183',
            timeMs: startMs + at * 120_000 + 500,
            values: [{ quantity: 35, scaled: 482_082_000 }],
          },
        ])
    if (at % 4 === 3) world.closeBatch()
  }
  world.anchor(1, 2)
  world.anchor(3)
  const hub = newSigner()
  const sale: SalesReceipt = {
    ...{
      id: 'ab'.repeat(16),
      issuedMs: startMs,
      query: new Uint8Array(32),
      response: new Uint8Array(32).fill(7),
    },
    ...{ rows: 40, values: 120, priceMicroUsd: 470, rail: 'credits' },
    shares: [{ station: stations[1]!, microUsd: 329 }],
  }
  const scope = { stations: [stations[1]!], fromMs: startMs + 120_000, toMs: startMs + 11 * 120_000 }
  const build = async () => {
    const built = await buildBundle(world.deps, scope, {
      hubKey: hub.publicKey,
      receipt: signSale(sale, network, hub),
    })
    return built.ok ? built.bytes : expect.fail(built.detail)
  }

  test('signatures, Merkle paths and the receipt of a bundle hold', async () => {
    const bytes = await build()
    const report = verifyBundle(bytes)
    expect(report.ok).toBe(true)
    const { status, lines, stderr } = checked(bytes)
    expect(stderr).toBe('')
    expect(lines.at(-1)).toBe('ok')
    expect(status).toBe(0)
    const { envelopes, withheld } = report.stations[0]!
    expect(withheld).toHaveLength(1)
    expect(lines).toContain(`signatures ${envelopes}`)
    expect(lines).toContain(`leaves ${envelopes + 1}`)
    expect(lines).toContain(`sale ${sale.id} 470 ${toHex(sale.response)}`)
    const roots = lines.filter((line) => line.startsWith('root ')).map((line) => `0x${line.slice(5)}`)
    expect(new Set(roots)).toEqual(new Set(report.anchors.map(({ root }) => root)))
  })

  test('what was changed fails there as it fails here', async () => {
    const decoded = decodeBundle(await build())
    if (!decoded.ok) return expect.fail(decoded.detail)
    const { bundle } = decoded
    const [batch] = bundle.batches
    const [run] = batch!.runs
    const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, of) => (of === at ? byte ^ 1 : byte))
    const other = (more: Partial<NonNullable<typeof run>>) => ({
      ...bundle,
      batches: [{ ...batch!, runs: [{ ...run!, ...more }] }, ...bundle.batches.slice(1)],
    })
    const leaf = run!.leaves[0]!
    if (!('bytes' in leaf)) return expect.fail('the first leaf is shown')
    const lies = {
      'the signature is wrong': other({
        leaves: [{ bytes: flipped(leaf.bytes, leaf.bytes.length - 70) }, ...run!.leaves.slice(1)],
      }),
      'leaves are not under the root of their batch': other({
        proof: run!.proof.map((hash, at) => (at === 0 ? flipped(hash, 3) : hash)),
      }),
      'a statement is not under the anchored root': {
        ...bundle,
        batches: [
          { ...batch!, anchor: { ...batch!.anchor, root: flipped(batch!.anchor.root, 0) } },
          ...bundle.batches.slice(1),
        ],
      },
      'the kid is of another key': { ...bundle, sale: { ...bundle.sale!, hubKey: newSigner().publicKey } },
    }
    for (const [why, lie] of Object.entries(lies)) {
      const bytes = encodeBundle(lie)
      expect(verifyBundle(bytes).ok, why).toBe(false)
      expect(checked(bytes)).toMatchObject({ status: 1, lines: expect.arrayContaining([`failed: ${why}`]) })
    }
  })
})
