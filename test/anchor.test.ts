import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type AnchorBook, type AnchorOptions, openAnchorBook, runAnchor } from '#gateway/anchor/anchor.ts'
import { openAnchoring } from '#gateway/anchor/anchoring.ts'
import { batchesOf } from '#gateway/anchor/batches.ts'
import { runBatching } from '#gateway/anchor/batching.ts'
import { ChainUnreachable } from '#gateway/anchor/chain.ts'
import { decodeAnchored, encodeAnchor, encodeAnchored } from '#gateway/anchor/contract/contract.ts'
import type { EmbeddedChain } from '#gateway/anchor/embedded.ts'
import { readCall, readNonce, readReceipt } from '#gateway/anchor/node.ts'
import { leafHash, treeRoot, verifyInclusion } from '#gateway/reading/merkle.ts'
import { decodeStatement, statementHash } from '#gateway/reading/statement.ts'
import { saboteur, withHead } from '#test/anchor-faults.ts'
import {
  accountNumber,
  evidenceInMemory,
  handClock,
  makeDirectory,
  openChainIn,
  walletOf,
} from '#test/anchor-world.ts'

const directory = makeDirectory()
const capWei = 10n ** 11n
const stations = ['11', '22', '33'].map((byte) => byte.repeat(16)) as [string, string, string]
const startMs = 1_780_000_000_000
const keys = 130
let chain: EmbeddedChain
let nextKey = 1
let files = 0

beforeAll(async () => {
  chain = await openChainIn(join(directory.path, 'chain'), { keys })
})
afterAll(async () => {
  await chain.close()
  directory.remove()
})

const newPath = (): string => join(directory.path, `anchor-${++files}.sqlite`)

const openBook = (path = newPath()): AnchorBook => {
  const book = openAnchorBook(path)
  onTestFinished(() => {
    if (book.database.isOpen) book.close()
  })
  return book
}

const statementOf = (book: AnchorBook, batch: number) => {
  const decoded = decodeStatement(book.batch(batch)!.statement)
  if (!decoded.ok) throw new Error(decoded.detail)
  return decoded.statement
}

describe('batching', () => {
  const start = (book: AnchorBook, kept: ReturnType<typeof evidenceInMemory>, options: object = {}) => {
    const hand = handClock(startMs)
    const stop = new AbortController()
    const running = runBatching(
      {
        batches: batchesOf(book.database),
        evidence: kept.evidence,
        clock: hand.clock,
        onPending: (leaves, sinceMs) => book.report({ pending: { leaves, sinceMs } }),
        onBatch: () => {},
      },
      { network: 'test', maxAgeMs: 300_000, firstAgeMs: 10_000, maxLeaves: 5, ...options },
      stop.signal,
    )
    onTestFinished(async () => {
      stop.abort()
      await running
    })
    return {
      ...hand,
      stop: async () => {
        stop.abort()
        await running
      },
    }
  }
  const numbers = (book: AnchorBook) =>
    book.batches({ limit: 100 }).map(({ batch, from, to, size }) => [batch, from, to, size])

  test('closes the first batch after ten seconds and the next ones after five minutes', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { turn } = start(book, kept)
    kept.keep(stations[0], 1, startMs)
    await turn(9_999)
    expect(numbers(book)).toEqual([])
    expect(book.status().pending).toEqual({ leaves: 1, sinceMs: startMs })
    await turn(1)
    expect(numbers(book)).toEqual([[1, 0, 1, 1]])
    kept.keep(stations[0], 2, startMs + 10_000)
    await turn(299_999)
    expect(numbers(book).length).toBe(1)
    await turn(1)
    expect(numbers(book)).toEqual([
      [2, 1, 2, 1],
      [1, 0, 1, 1],
    ])
    expect(book.status().pending).toEqual({ leaves: 0, sinceMs: null })
    await turn(10_000_000)
    expect(numbers(book).length).toBe(2)
  })

  test('closes a batch at once when it is full, over indexes with holes', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { settle } = start(book, kept)
    kept.skip()
    for (let seq = 1; seq <= 12; seq++) {
      kept.keep(stations[0], seq, startMs)
      if (seq % 3 === 0) kept.skip()
    }
    await settle()
    expect(numbers(book)).toEqual([
      [2, 7, 14, 5],
      [1, 0, 7, 5],
    ])
    expect(book.batchOfIndex(0)).toBeUndefined()
    expect(book.batchOfIndex(1)).toBe(1)
    expect(book.batchOfIndex(7)).toBe(2)
    expect(book.batchOfIndex(15)).toBeUndefined()
    expect(book.batchOf(stations[0], 10)).toBe(2)
    expect(book.batchOf(stations[0], 11)).toBeUndefined()
    expect(book.batchOf(stations[1], 1)).toBeUndefined()
  })

  test('puts leaves in order of station and seq, and every one of them has a proof', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { turn } = start(book, kept, { maxLeaves: 100 })
    const order: readonly [number, number][] = [
      [2, 7],
      [0, 10],
      [0, 9],
      [1, 1],
      [0, 2],
      [2, 6],
    ]
    for (const [station, seq] of order) kept.keep(stations[station]!, seq, startMs)
    await turn(10_000)
    const { refs, hashes } = book.leaves(1)!
    expect(refs.map(({ station, seq, index }) => [stations.indexOf(station), seq, index])).toEqual([
      [0, 2, 4],
      [0, 9, 2],
      [0, 10, 1],
      [1, 1, 3],
      [2, 6, 5],
      [2, 7, 0],
    ])
    for (const [at, { station, seq, index }] of refs.entries()) {
      expect(hashes[at]).toEqual(leafHash(kept.kept[index]!.bytes))
      expect(book.placeOf(station, seq)).toEqual({ batch: 1, place: at })
    }
    expect(book.placeOf(stations[0], 5)).toBeUndefined()
    const statement = statementOf(book, 1)
    expect(treeRoot(hashes)).toEqual(statement.root)
    expect(statement).toMatchObject({
      network: 'test',
      batch: 1,
      size: 6,
      firstMs: startMs - 5000,
      lastMs: startMs - 100,
      stations: [
        { station: stations[0], first: 2, last: 10, count: 3 },
        { station: stations[1], first: 1, last: 1, count: 1 },
        { station: stations[2], first: 6, last: 7, count: 2 },
      ],
    })
  })

  test('links every statement to the one before', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { settle } = start(book, kept, { maxLeaves: 2 })
    for (let seq = 1; seq <= 8; seq++) kept.keep(stations[0], seq, startMs)
    await settle()
    expect(statementOf(book, 1).previous).toEqual(new Uint8Array(32))
    for (const batch of [2, 3, 4])
      expect(statementOf(book, batch).previous).toEqual(statementHash(book.batch(batch - 1)!.statement))
  })

  test('stopped and started again has each envelope in exactly one batch', async () => {
    const path = newPath()
    const kept = evidenceInMemory()
    let seq = 0
    for (let life = 0; life < 6; life++) {
      const book = openBook(path)
      const running = start(book, kept, { maxLeaves: 4, maxAgeMs: 1000, firstAgeMs: 1000 })
      for (let more = 0; more < 3 + life; more++) kept.keep(stations[seq % 3]!, ++seq, startMs)
      await running.settle()
      if (life % 2 === 1) await running.turn(1000)
      await running.stop()
      book.close()
    }
    const book = openBook(path)
    const indexes = book
      .batches({ limit: 500 })
      .toReversed()
      .flatMap(({ batch }) => book.leaves(batch)!.refs.map(({ index }) => index))
    expect(indexes.toSorted((a, b) => a - b)).toEqual(
      kept.kept.slice(0, indexes.length).map(({ index }) => index),
    )
    expect(indexes.length).toBeGreaterThan(25)
    for (const { from, batch } of book.batches({ limit: 500 }))
      expect(from).toBe(batch === 1 ? 0 : book.batch(batch - 1)!.to)
  })

  test('finds a late envelope among batches whose spans contain its seq', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { settle } = start(book, kept, { maxLeaves: 3 })
    for (const seq of [100, 1, 200, 99, 2, 201, 98, 3, 202]) kept.keep(stations[0], seq, startMs)
    await settle()
    expect([1, 100, 99, 2, 98, 202].map((seq) => book.batchOf(stations[0], seq))).toEqual([1, 1, 2, 2, 3, 3])
    expect(book.batchOf(stations[0], 50)).toBeUndefined()
  })

  test('is not held up by a clock that was set back', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { turn } = start(book, kept)
    kept.keep(stations[0], 1, startMs + 86_400_000)
    await turn(10_000)
    expect(numbers(book).length).toBe(1)
  })

  test('lists batches newest first in pages', async () => {
    const [book, kept] = [openBook(), evidenceInMemory()]
    const { settle } = start(book, kept, { maxLeaves: 1 })
    for (let seq = 1; seq <= 5; seq++) kept.keep(stations[0], seq, startMs)
    await settle()
    const page = (limit: number, before?: number) =>
      book.batches(before === undefined ? { limit } : { limit, before }).map(({ batch }) => batch)
    expect(page(2)).toEqual([5, 4])
    expect(page(2, 4)).toEqual([3, 2])
    expect(page(9, 2)).toEqual([1])
    expect(book.batch(6)).toBeUndefined()
    expect(book.leaves(6)).toBeUndefined()
  })
})

/** A book with closed batches, a key of its own, and a wire to meddle with. */
const newAnchoring = (batches: number, options: Partial<AnchorOptions> = {}) => {
  const account = accountNumber(nextKey++)
  const path = newPath()
  let book = openBook(path)
  let index = 0
  const closeBatch = () => {
    const envelope = new Uint8Array(40).fill(++index)
    const leaf = { station: stations[0], seq: index, index: index - 1, firstMs: 1, lastMs: 2 }
    batchesOf(book.database).add('test', [{ ...leaf, hash: leafHash(envelope) }], index, startMs)
  }
  for (let batch = 0; batch < batches; batch++) closeBatch()
  const world = saboteur(chain)
  const open = () =>
    openAnchoring(
      { database: book.database, chain: world.chain, account, nowMs: () => startMs },
      { capWei, resendAfterPolls: 1, ...options },
    )
  const self = {
    account,
    world,
    closeBatch,
    anchoring: open(),
    get book() {
      return book
    },
    reopen: () => {
      book.close()
      book = openBook(path)
      self.anchoring = open()
    },
    /** Steps until everything is final, at most so many times. */
    finish: async (steps = 20) => {
      for (let step = 0; step < steps; step++) if ((await self.anchoring.step()).state === 'idle') return
      throw new Error(`not idle: ${JSON.stringify(book.batches({ limit: 10 }).map(({ status }) => status))}`)
    },
    statuses: () =>
      book
        .batches({ limit: 500 })
        .toReversed()
        .map(({ status }) => status),
  }
  return self
}

const expectOnChain = async (book: AnchorBook, batch: number, on: EmbeddedChain = chain) => {
  const anchor = book.anchorOf(batch)!
  expect(anchor).toMatchObject({ status: 'final', chainId: 31337 })
  const leaf = leafHash(book.batch(batch)!.statement)
  expect(verifyInclusion(leaf, anchor.index, anchor.size, [...anchor.proof], anchor.root)).toBe(true)
  const slot = decodeAnchored(await readCall(on, anchor.contract, encodeAnchored(anchor.root)))
  expect(slot).toMatchObject({ firstBatch: anchor.firstBatch, batches: anchor.size })
  const receipt = await readReceipt(on, anchor.txHash)
  expect(receipt).toMatchObject({ blockNumber: anchor.blockNumber, blockHash: anchor.blockHash })
  return anchor
}

describe('anchoring', () => {
  test('deploys the contract, then brings the root of a batch to final', async () => {
    const { finish, book, account, statuses } = newAnchoring(1)
    expect(book.anchorOf(1)).toBeUndefined()
    expect(book.batch(1)).toMatchObject({ status: 'queued', carrier: null })
    await finish()
    const anchor = await expectOnChain(book, 1)
    expect(anchor).toMatchObject({ size: 1, index: 0, proof: [], firstBatch: 1 })
    expect(anchor.root).toEqual(leafHash(book.batch(1)!.statement))
    expect(book.batch(1)!.carrier).toMatchObject({ txHash: anchor.txHash, contract: anchor.contract })
    expect(statuses()).toEqual(['final'])
    expect(book.status()).toMatchObject({
      chainId: 31337,
      contract: anchor.contract,
      batches: { queued: 0, sent: 0, mined: 0, final: 1 },
      oldestOpenMs: null,
    })
    expect(await readNonce(chain, account.address, 'latest')).toBe(2)
  })

  test('lets batches pile up while gas is above the cap, and anchors them under one root', async () => {
    const { world, anchoring, finish, closeBatch, book, statuses, account } = newAnchoring(0)
    await finish()
    for (let batch = 0; batch < 5; batch++) closeBatch()
    world.meddle = withHead(() => ({ baseFeePerGas: `0x${(capWei * 2n).toString(16)}` }))
    expect(await anchoring.step()).toMatchObject({ state: 'waiting', reason: 'fee-above-cap' })
    closeBatch()
    closeBatch()
    expect(await anchoring.step()).toMatchObject({ state: 'waiting', reason: 'fee-above-cap' })
    expect(statuses()).toEqual(Array(7).fill('queued'))
    expect(book.status()).toMatchObject({ batches: { queued: 7 }, oldestOpenMs: startMs })
    world.meddle = (request, forward) => forward(request)
    await finish()
    const hashes = new Set<string>()
    for (let batch = 1; batch <= 7; batch++) {
      const anchor = await expectOnChain(book, batch)
      expect(anchor).toMatchObject({ size: 7, index: batch - 1, firstBatch: 1 })
      hashes.add(anchor.txHash)
    }
    expect(hashes.size).toBe(1)
    expect(await readNonce(chain, account.address, 'latest')).toBe(2)
  })

  test('bounds how many batches share a root', async () => {
    const { finish, book } = newAnchoring(7, { maxBatchesPerRoot: 3 })
    await finish()
    const sizes = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7].map(async (batch) => (await expectOnChain(book, batch)).size),
    )
    expect(sizes).toEqual([3, 3, 3, 3, 3, 3, 1])
  })

  test('counts a root that somebody wrote before as anchored', async () => {
    const { finish, book, account, closeBatch, world } = newAnchoring(1)
    await finish()
    const { contract } = book.anchorOf(1)!
    const wallet = walletOf(chain, account)

    // Seen before sending: nothing is sent.
    closeBatch()
    const early = await wallet.send(contract, encodeAnchor(leafHash(book.batch(2)!.statement), 2, 1))
    await finish()
    expect((await expectOnChain(book, 2)).txHash).toBe(early.hash)

    // Written while our transaction was on its way: ours reverts.
    closeBatch()
    let late = ''
    world.meddle = async (request, forward) => {
      if (request.method === 'eth_estimateGas') return '0x20000'
      if (request.method === 'eth_getTransactionCount' && late === '')
        late = (await wallet.send(contract, encodeAnchor(leafHash(book.batch(3)!.statement), 3, 1))).hash
      return forward(request)
    }
    const sent = world.broadcasts.length
    await finish()
    expect(world.broadcasts.length).toBe(sent + 1)
    expect((await expectOnChain(book, 3)).txHash).toBe(late)
  })

  test('says why it cannot send, and goes on by itself once it can', async () => {
    const { finish, anchoring, closeBatch, world, statuses } = newAnchoring(1)
    await finish()
    closeBatch()
    world.meddle = async (request, forward) =>
      request.method === 'eth_getBalance' ? '0x0' : forward(request)
    expect(await anchoring.step()).toMatchObject({ state: 'waiting', reason: 'no-funds' })
    world.meddle = (request, forward) => forward(request)
    await finish()
    expect(statuses()).toEqual(['final', 'final'])
  })

  test('uses a contract that is there, and names the role it lacks', async () => {
    const { finish, book } = newAnchoring(1)
    await finish()
    const { contract } = book.anchorOf(1)!
    const other = newAnchoring(1, { contract })
    expect(await other.anchoring.step()).toEqual({
      state: 'waiting',
      reason: 'would-revert',
      detail: `NotAnchorer(${other.account.address})`,
    })
    expect(other.world.broadcasts).toEqual([])
    const nowhere = newAnchoring(1, { contract: accountNumber(700).address })
    expect(await nowhere.anchoring.step()).toMatchObject({ state: 'stopped', detail: /has no contract at/ })
  })

  test('stops on a chain with another id than the one it was set to', async () => {
    const { anchoring } = newAnchoring(1, { chainId: 1 })
    expect(await anchoring.step()).toEqual({
      state: 'stopped',
      detail: 'behind a saboteur serves chain 31337, and anchoring is set to chain 1',
    })
  })

  test('killed at any request to the node, anchors every batch once', async () => {
    const crash = new Error('killed')
    const live = async (crashAt: number) => {
      const self = newAnchoring(2)
      let requests = 0
      self.world.meddle = async (request, forward) => {
        const dies = requests++ === crashAt
        // Every other time the node has already done what it was asked.
        if (dies && crashAt % 2 === 0) throw crash
        const answer = await forward(request)
        if (dies) throw crash
        return answer
      }
      try {
        await self.finish()
      } catch (error) {
        if (error !== crash) throw error
        self.reopen()
        await self.finish()
      }
      const where = `killed at request ${crashAt}`
      expect(self.statuses(), where).toEqual(['final', 'final'])
      expect(await readNonce(chain, self.account.address, 'latest'), where).toBe(2)
      await expectOnChain(self.book, 2)
      self.book.close()
      return requests
    }
    const requests = await live(-1)
    expect(requests).toBeGreaterThan(25)
    for (let crashAt = 0; crashAt < requests; crashAt++) await live(crashAt)
  })
})

describe('a chain that is not the one it was', () => {
  const anchored = async (options: Partial<AnchorOptions>) => {
    const self = newAnchoring(2, options)
    await self.finish()
    return self
  }
  const openFresh = async (name: string, freshStartMs: number) => {
    const fresh = await openChainIn(join(directory.path, name), { keys, startMs: freshStartMs })
    onTestFinished(() => fresh.close())
    return fresh
  }

  test('but is, goes on without sending anything again', async () => {
    const { reopen, finish, world, closeBatch, book } = await anchored({})
    const sent = world.broadcasts.length
    reopen()
    expect(book.database.isOpen).toBe(false)
    await finish()
    expect(world.broadcasts.length).toBe(sent)
    closeBatch()
    await finish()
    expect(world.broadcasts.length).toBe(sent + 1)
  })

  test('after a reorganisation gets the same transactions again', async () => {
    const self = newAnchoring(0)
    await self.finish()
    await chain.close()
    cpSync(join(directory.path, 'chain'), join(directory.path, 'fork'), { recursive: true })
    chain = await openChainIn(join(directory.path, 'chain'), { keys })
    self.world.inner = chain
    self.closeBatch()
    self.closeBatch()
    await self.finish()
    const before = self.book.anchorOf(1)!
    const sent = new Set(self.world.broadcasts.map(({ raw }) => raw))

    const fork = await openFresh('fork', 1_790_000_000_000)
    self.world.inner = fork
    self.reopen()
    await self.finish()
    const after = await expectOnChain(self.book, 1, fork)
    expect(after.txHash).toBe(before.txHash)
    expect(after.blockHash).not.toBe(before.blockHash)
    expect(new Set(self.world.broadcasts.map(({ raw }) => raw))).toEqual(sent)
  })

  test.each([
    ['with another genesis', 'another', 1_770_000_000_000],
    ['with the same genesis and no contract', 'same', startMs],
  ])('but a new one %s is anchored on anew where that is allowed', async (_, name, freshStartMs) => {
    const self = await anchored({ allowReset: true })
    const before = self.book.anchorOf(1)!
    const fresh = await openFresh(name, freshStartMs)
    self.world.inner = fresh
    self.reopen()
    await self.finish()
    expect(self.statuses()).toEqual(['final', 'final'])
    const after = await expectOnChain(self.book, 1, fresh)
    await expectOnChain(self.book, 2, fresh)
    expect(after.blockHash).not.toBe(before.blockHash)
    expect(self.book.status().batches).toEqual({ queued: 0, sent: 0, mined: 0, final: 2 })
  })

  test('but a new one stops anchoring elsewhere, until the old one is back', async () => {
    const self = await anchored({})
    const sent = self.world.broadcasts.length
    self.closeBatch()
    const news = [
      ['elsewhere', 1_770_000_000_000, /not the chain that was anchored on: block 0 was 0x.*nothing is sent/],
      ['emptied', startMs, /not the chain that was anchored on: the contract at 0x\w+ is gone/],
    ] as const
    for (const [name, freshStartMs, detail] of news) {
      self.world.inner = await openFresh(name, freshStartMs)
      const step = await self.anchoring.step()
      expect(step).toMatchObject({ state: 'stopped', detail: expect.stringMatching(detail) })
    }
    self.world.meddle = async (request, forward) =>
      request.method === 'eth_chainId' ? '0x5' : forward(request)
    expect(await self.anchoring.step()).toMatchObject({
      state: 'stopped',
      detail: expect.stringContaining('chain id 31337 was expected, 5 came'),
    })
    expect(self.world.broadcasts.length).toBe(sent)
    expect(self.statuses()).toEqual(['final', 'final', 'queued'])
    self.world.meddle = (request, forward) => forward(request)
    self.world.inner = chain
    await self.finish()
    await expectOnChain(self.book, 3)
  })
})

describe('the stage', () => {
  test('takes an envelope from the evidence to a final root, and outlives a chain that goes away', async () => {
    const book = openBook()
    const kept = evidenceInMemory()
    const { clock, turn } = handClock(startMs)
    const world = saboteur(chain)
    const account = accountNumber(nextKey++)
    const stop = new AbortController()
    const closed: number[] = []
    const running = runAnchor(
      {
        book,
        evidence: kept.evidence,
        chain: world.chain,
        account,
        clock,
        onBatch: ({ batch }) => closed.push(batch),
      },
      { network: 'test', capWei, pollMs: 1000 },
      stop.signal,
    )
    /** Turns the clock until something has come about. */
    const until = async (what: string, done: () => boolean, stepMs = 1000) => {
      for (let turns = 0; turns < 2000; turns++) {
        if (done()) return
        await turn(stepMs)
        await delay(1)
      }
      throw new Error(`never ${what}: ${JSON.stringify({ ...book.status(), balanceWei: null })}`)
    }
    const batches = () => book.status().batches
    await until('deployed', () => book.status().state === 'idle')
    kept.keep(stations[0], 1, clock.nowMs())
    await until('final', () => batches().final === 1 && book.status().state === 'idle')
    await expectOnChain(book, 1)
    expect(book.status()).toMatchObject({
      chain: 'behind a saboteur',
      address: account.address,
      detail: null,
    })
    expect(book.status().balanceWei).toBeGreaterThan(0n)

    world.meddle = async () => {
      throw new ChainUnreachable('nobody there')
    }
    for (let seq = 2; seq <= 4; seq++) {
      kept.keep(stations[0], seq, clock.nowMs())
      await until('closed', () => batches().queued === seq - 1, 20_000)
    }
    await until('unreachable', () => book.status().state === 'unreachable')
    expect(book.status()).toMatchObject({ detail: 'nobody there', batches: { queued: 3, final: 1 } })
    world.meddle = (request, forward) => forward(request)
    await until('final again', () => batches().final === 4)
    expect((await expectOnChain(book, 4)).size).toBe(3)
    expect(closed).toEqual([1, 2, 3, 4])
    stop.abort()
    await running
  })
})
