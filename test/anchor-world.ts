/** What anchor tests stand on: funded keys, chains in temporary directories, evidence in memory, a clock to turn. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Address, Hex } from 'viem'
import { type Account, accountOf } from '#gateway/anchor/account.ts'
import type { Chain } from '#gateway/anchor/chain.ts'
import { type EmbeddedChain, openEmbeddedChain } from '#gateway/anchor/embedded.ts'
import { type Receipt, readChainId, readNonce, readReceipt } from '#gateway/anchor/node.ts'
import type { Evidence, KeptEnvelope } from '#gateway/evidence/evidence.ts'
import { openJournal } from '#gateway/journal/open.ts'

export const projectRoot = fileURLToPath(new URL('..', import.meta.url))

export const makeDirectory = () => {
  const path = mkdtempSync(join(tmpdir(), 'groundtruth-anchor-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Key number `n`: the same address in every run, and in the child process of a test. */
export const accountNumber = (n: number): Account => {
  const secret = new Uint8Array(32).fill(7)
  new DataView(secret.buffer).setUint32(0, n + 1)
  return accountOf(secret)
}

/** An embedded chain in a directory; keys 0 to `keys` - 1 have 1000 ether each. */
export const openChainIn = async (
  directory: string,
  { keys = 1, startMs = 1_780_000_000_000 }: { keys?: number; startMs?: number } = {},
): Promise<EmbeddedChain> => {
  const journal = await openJournal({ directory })
  const funded = Array.from({ length: keys }, (_, n) => ({
    address: accountNumber(n).address,
    balanceWei: 10n ** 21n,
  }))
  const options = { journal, projectRoot, funded, nowMs: () => startMs }
  const chain = await openEmbeddedChain(options).catch(async (error) => {
    await journal.close()
    throw error
  })
  const close = async () => {
    await chain.close()
    await journal.close()
  }
  return Object.defineProperties({} as EmbeddedChain, {
    ...Object.getOwnPropertyDescriptors(chain),
    close: { value: close },
    [Symbol.asyncDispose]: { value: close },
  })
}

/** Evidence that a test fills by hand. */
export const evidenceInMemory = () => {
  const kept: KeptEnvelope[] = []
  let next = 0
  let waiters: (() => void)[] = []
  const evidence: Pick<Evidence, 'committed' | 'grown' | 'read'> = {
    get committed() {
      return next
    },
    grown: async (after, signal) => {
      while (next <= after && !signal.aborted)
        await new Promise<void>((resolve) => {
          waiters.push(resolve)
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
    },
    async *read(from, to = next) {
      for (const envelope of kept) if (envelope.index >= from && envelope.index < to) yield envelope
    },
  }
  const commit = () => {
    for (const resolve of waiters) resolve()
    waiters = []
  }
  return {
    evidence,
    kept,
    /** Another kind of record: an index without an envelope. */
    skip: () => {
      next += 1
      commit()
    },
    keep: (station: string, seq: number, receivedMs: number) => {
      const bytes = new Uint8Array(randomBytes(150))
      kept.push({
        index: next++,
        station,
        seq,
        receivedMs,
        firstMs: receivedMs - 5000,
        lastMs: receivedMs - 100,
        readings: 1,
        withheld: false,
        hash: new Uint8Array(createHash('sha256').update(bytes).digest()),
        bytes,
      })
      commit()
    },
  }
}

/** A clock that stands still until it is turned; whoever sleeps wakes when their time has come. */
export const handClock = (startMs = 1_780_000_000_000) => {
  let nowMs = startMs
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>()
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    clock: {
      nowMs: () => nowMs,
      sleep: (ms: number, signal: AbortSignal) =>
        new Promise<void>((resolve, reject) => {
          const sleeper = {
            untilMs: nowMs + ms,
            wake: () => {
              sleepers.delete(sleeper)
              resolve()
            },
          }
          sleepers.add(sleeper)
          signal.addEventListener(
            'abort',
            () => {
              sleepers.delete(sleeper)
              reject(signal.reason)
            },
            { once: true },
          )
        }),
    },
    /** Lets everything that is ready run. */
    settle,
    turn: async (ms: number) => {
      await settle()
      nowMs += ms
      for (const sleeper of sleepers) if (sleeper.untilMs <= nowMs) sleeper.wake()
      await settle()
    },
  }
}

/** Sends by hand, as a person with a wallet would: next nonce, plenty of gas, whatever the outcome. */
export const walletOf = (chain: Chain, account: Account) => ({
  address: account.address,
  send: async (to: Address | null, data: Hex = '0x'): Promise<Receipt> => {
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId: await readChainId(chain),
      nonce: await readNonce(chain, account.address, 'latest'),
      data,
      gas: 3_000_000n,
      maxFeePerGas: 10n ** 11n,
      maxPriorityFeePerGas: 1n,
      ...(to === null ? {} : { to }),
    })
    const hash = await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
    return (await readReceipt(chain, hash as Hex))!
  },
})
