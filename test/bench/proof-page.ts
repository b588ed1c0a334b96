/** The part of the bench that runs in a page: asks for the cases, and tells the rates. */
import { fromHex } from '#gateway/reading/bytes.ts'
import { verify } from '#gateway/reading/ed25519.browser.ts'
import { sha256 } from '#gateway/reading/sha256.browser.ts'
import type { PageWork } from './proof.ts'
import { type ProofRates, proofTurns } from './proof-turns.ts'

const bytesOf = (hex: string): Uint8Array => fromHex(hex)!

const work = async (): Promise<ProofRates[]> => {
  const { cases, rounds, turnMs } = (await (await fetch('/work')).json()) as PageWork
  const rates: ProofRates[] = []
  for (const { readings, bundle, publicKey, envelopes } of cases) {
    const bare = envelopes.map(([bytes, message, signature]) => ({
      bytes: bytesOf(bytes),
      message: bytesOf(message),
      signature: bytesOf(signature),
    }))
    const one = { readings, bundle: bytesOf(bundle), publicKey: bytesOf(publicKey), envelopes: bare }
    rates.push(await proofTurns(one, { clockMs: () => performance.now(), sha256, verify }, rounds, turnMs))
  }
  return rates
}

const told = await work().catch((error: unknown) => ({ failed: String(error) }))
await fetch('/told', { method: 'POST', body: JSON.stringify(told) })
