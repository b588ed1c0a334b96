import { cpSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { Hex } from 'viem'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ChainUnreachable, RpcError } from '#gateway/anchor/chain.ts'
import { chainsOf } from '#gateway/anchor/chains.ts'
import { openDatabase } from '#gateway/anchor/database.ts'
import type { EmbeddedChain } from '#gateway/anchor/embedded.ts'
import { bumpedFees, firstFees } from '#gateway/anchor/fees.ts'
import { readNonce, readReceipt } from '#gateway/anchor/node.ts'
import { openSender, type SenderOptions } from '#gateway/anchor/sender.ts'
import { type Saboteur, saboteur, withHead } from '#test/anchor-faults.ts'
import { accountNumber, makeDirectory, openChainIn, walletOf } from '#test/anchor-world.ts'

const directory = makeDirectory()
const keys = 150
const capWei = 10n ** 11n
const target = accountNumber(600).address
let embedded: EmbeddedChain
let nextKey = 1
const opened: DatabaseSync[] = []

beforeAll(async () => {
  embedded = await openChainIn(join(directory.path, 'chain'), { keys })
})
afterEach(() => {
  for (const database of opened.splice(0)) if (database.isOpen) database.close()
})
afterAll(async () => {
  await embedded.close()
  directory.remove()
})

/** A sender with a key that has sent nothing, a database of its own and a wire that can be meddled with. */
const newSender = (options: Partial<SenderOptions> = {}) => {
  const key = nextKey++
  const account = accountNumber(key)
  const world = saboteur(embedded)
  const path = join(directory.path, `sender-${key}.sqlite`)
  const open = () => {
    const database = openDatabase(path)
    opened.push(database)
    const chains = chainsOf(database)
    if (chains.current() === undefined) chains.add(31337, '0x00')
    const deps = { database, chain: world.chain, chainRow: 1, chainId: 31337, account, nowMs: () => 0 }
    return { database, sender: openSender(deps, { capWei, resendAfterPolls: 1, ...options }) }
  }
  return { key, account, world, open, ...open() }
}

const call = (data: Hex, kept: number[] = []) => ({
  to: target,
  data,
  event: null,
  keep: (transaction: number) => kept.push(transaction),
})

/** Blocks in which others do things. */
const passBlocks = async (count: number): Promise<void> => {
  const wallet = walletOf(embedded, accountNumber(0))
  for (let block = 0; block < count; block++) await wallet.send(target)
}

const dropSends: Saboteur['meddle'] = async (request, forward) =>
  request.method === 'eth_sendRawTransaction' ? `0x${'00'.repeat(32)}` : forward(request)

/** Holds finality back at a block. */
const finalAt =
  (number: Hex, otherwise: Saboteur['meddle'] = (request, forward) => forward(request)): Saboteur['meddle'] =>
  async (request, forward) =>
    request.params?.[0] === 'finalized'
      ? { ...((await forward(request)) as object), number }
      : otherwise(request, forward)

describe('fees', () => {
  test('first leave room for six full blocks, but never beyond the cap', () => {
    expect(firstFees(10n, 2n, 1000n)).toEqual({ maxFeeWei: 22n, priorityFeeWei: 2n })
    expect(firstFees(10n, 2n, 15n)).toEqual({ maxFeeWei: 15n, priorityFeeWei: 2n })
    expect(firstFees(10n, 2n, 12n)).toEqual({ maxFeeWei: 12n, priorityFeeWei: 2n })
    expect(firstFees(10n, 2n, 11n)).toBeUndefined()
    expect(firstFees(0n, 0n, 10n)).toEqual({ maxFeeWei: 1n, priorityFeeWei: 1n })
  })

  test('rise by an eighth in both fields at least, more when the price has, and stop below the cap', () => {
    const last = { maxFeeWei: 1000n, priorityFeeWei: 10n }
    expect(bumpedFees(last, 1n, 1n, 10_000n)).toEqual({ maxFeeWei: 1125n, priorityFeeWei: 12n })
    expect(bumpedFees(last, 2000n, 50n, 10_000n)).toEqual({ maxFeeWei: 4050n, priorityFeeWei: 50n })
    expect(bumpedFees(last, 2000n, 50n, 3000n)).toEqual({ maxFeeWei: 3000n, priorityFeeWei: 50n })
    expect(bumpedFees(last, 1n, 1n, 1125n)).toBeDefined()
    expect(bumpedFees(last, 1n, 1n, 1124n)).toBeUndefined()
    expect(bumpedFees({ maxFeeWei: 1n, priorityFeeWei: 1n }, 0n, 0n, 10n)).toEqual({
      maxFeeWei: 2n,
      priorityFeeWei: 2n,
    })
  })
})

describe('a transaction', () => {
  test('is on disk with its bytes and hash before a node sees it, then goes to final', async () => {
    const { sender, world, database } = newSender()
    const kept: number[] = []
    let onDisk: unknown
    world.meddle = (request, forward) => {
      if (request.method === 'eth_sendRawTransaction')
        onDisk = database
          .prepare('SELECT status, nonce, raw FROM transactions t JOIN attempts a ON a.tx = t.id')
          .get()
      return forward(request)
    }
    expect(await sender.send(call('0xaa', kept))).toEqual({ ok: true, transaction: 1 })
    expect(kept).toEqual([1])
    expect({ ...(onDisk as object) }).toEqual({ status: 'signed', nonce: 0, raw: world.broadcasts[0]!.raw })
    expect(sender.transactions.get(1)).toMatchObject({ status: 'sent', note: null })
    await sender.poll()
    const done = sender.transactions.get(1)!
    expect(done).toMatchObject({ status: 'final', succeeded: true })
    const receipt = await readReceipt(embedded, done.minedHash!)
    expect(receipt).toMatchObject({ blockNumber: done.blockNumber, blockHash: done.blockHash })
  })

  test('that the node dropped is sent again in the same bytes', async () => {
    const { sender, world } = newSender()
    world.meddle = dropSends
    await sender.send(call('0xaa'))
    await sender.poll()
    world.meddle = (request, forward) => forward(request)
    await sender.poll()
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final', nonce: 0 })
    expect(new Set(world.broadcasts.map(({ raw }) => raw)).size).toBe(1)
    expect(world.broadcasts.length).toBe(3)
  })

  test.each([
    ['fell silent', new ChainUnreachable('silence')],
    ['answered an error', new RpcError('internal error', -32603)],
    ['knows it already', new RpcError('already known', -32000)],
  ])('taken by a node that then %s is not sent as another', async (_, error) => {
    const { sender, world, account } = newSender()
    world.meddle = async (request, forward) => {
      const answer = await forward(request)
      if (request.method === 'eth_sendRawTransaction') throw error
      return answer
    }
    await sender.send(call('0xaa')).catch((thrown) => expect(thrown).toBe(error))
    expect(await sender.send(call('0xbb'))).toMatchObject({ ok: false, reason: 'in-flight' })
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final' })
    expect(await readNonce(embedded, account.address, 'latest')).toBe(1)
    expect(world.broadcasts.length).toBe(1)
  })

  test('without a receipt holds back the next one, and nothing is skipped', async () => {
    const { sender, world } = newSender()
    world.meddle = async (request, forward) =>
      request.method === 'eth_getTransactionReceipt' ? null : forward(request)
    await sender.send(call('0xaa'))
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'sent' })
    expect(await sender.send(call('0xbb'))).toMatchObject({ reason: 'in-flight' })
    world.meddle = (request, forward) => forward(request)
    await sender.poll()
    expect(await sender.send(call('0xbb'))).toEqual({ ok: true, transaction: 2 })
    expect(sender.transactions.get(2)).toMatchObject({ nonce: 1 })
  })

  test('passed by for three blocks pays more for the same nonce and payload, and any attempt may land', async () => {
    const { sender, world } = newSender({ bumpAfterBlocks: 3 })
    world.meddle = dropSends
    await sender.send(call('0xaa'))
    await passBlocks(2)
    await sender.poll()
    expect(sender.transactions.attempts(1).length).toBe(1)
    await passBlocks(1)
    await sender.poll()
    await passBlocks(3)
    await sender.poll()
    const attempts = sender.transactions.attempts(1)
    expect(attempts.length).toBe(3)
    for (const [at, { fees }] of attempts.entries()) {
      if (at === 0) continue
      const before = attempts[at - 1]!.fees
      expect(fees.maxFeeWei * 1000n).toBeGreaterThanOrEqual(before.maxFeeWei * 1125n)
      expect(fees.priorityFeeWei * 1000n).toBeGreaterThanOrEqual(before.priorityFeeWei * 1125n)
    }
    expect(new Set(world.broadcasts.map(({ nonce, payload }) => `${nonce} ${payload}`)).size).toBe(1)
    // The second of three attempts is the one that lands.
    await embedded.request({ method: 'eth_sendRawTransaction', params: [attempts[1]!.raw] })
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final', minedHash: attempts[1]!.hash })
  })

  test('is not signed while gas costs more than the cap', async () => {
    const { sender, world } = newSender()
    world.meddle = withHead(() => ({ baseFeePerGas: `0x${capWei.toString(16)}` }))
    expect(await sender.send(call('0xaa'))).toEqual({
      ok: false,
      reason: 'fee-above-cap',
      detail: 'gas costs 101 gwei, the cap is 100 gwei',
    })
    expect(sender.transactions.unfinished()).toEqual([])
    expect(world.broadcasts).toEqual([])
  })

  test('already at the cap keeps its fees however long it waits', async () => {
    const { sender, world } = newSender({ bumpAfterBlocks: 1, capWei: 1_500_000_000n })
    world.meddle = dropSends
    await sender.send(call('0xaa'))
    for (let round = 0; round < 8; round++) {
      await passBlocks(1)
      await sender.poll()
    }
    const attempts = sender.transactions.attempts(1)
    expect(attempts.at(-1)!.fees.maxFeeWei).toBeLessThanOrEqual(1_500_000_000n)
    expect(attempts.length).toBeLessThan(6)
    expect(world.broadcasts.at(-1)!.raw).toBe(attempts.at(-1)!.raw)
    world.meddle = (request, forward) => forward(request)
    await sender.poll()
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final' })
  })

  test('whose nonce somebody else used up for good is superseded, and the next one goes on above', async () => {
    const { sender, world, account } = newSender()
    world.meddle = dropSends
    await sender.send(call('0xaa'))
    await walletOf(embedded, account).send(target, '0xff')
    // Not yet: the other one could still be undone.
    world.meddle = finalAt('0x1', dropSends)
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'sent' })
    world.meddle = (request, forward) => forward(request)
    for (let poll = 0; poll < 3; poll++) {
      expect(sender.transactions.get(1)).toMatchObject({ status: 'sent' })
      await sender.poll()
    }
    expect(sender.transactions.get(1)).toMatchObject({
      status: 'superseded',
      note: 'another transaction took its nonce',
    })
    await sender.send(call('0xaa'))
    await sender.poll()
    expect(sender.transactions.get(2)).toMatchObject({ status: 'final', nonce: 1 })
  })

  test('is final only so many blocks deep where the node knows no finality', async () => {
    const { sender, world } = newSender({ confirmations: 3 })
    world.meddle = async (request, forward) => {
      if (request.params?.[0] === 'finalized') throw new RpcError('unknown block', -32000)
      return forward(request)
    }
    await sender.send(call('0xaa'))
    await passBlocks(2)
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'mined' })
    await passBlocks(1)
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final' })
  })

  test('takes a nonce above everything it has seen mined, also when the node lags behind', async () => {
    const { sender, world } = newSender()
    await sender.send(call('0xaa'))
    await sender.poll()
    world.meddle = async (request, forward) =>
      request.method === 'eth_getTransactionCount' ? '0x0' : forward(request)
    await sender.send(call('0xbb'))
    expect(sender.transactions.get(2)).toMatchObject({ nonce: 1 })
    await sender.poll()
    expect(sender.transactions.get(2)).toMatchObject({ status: 'final' })
  })

  test('is not sent by an account that could not pay for it', async () => {
    const { sender, world } = newSender()
    world.meddle = async (request, forward) =>
      request.method === 'eth_getBalance' ? '0x1' : forward(request)
    expect(await sender.send(call('0xaa'))).toMatchObject({ ok: false, reason: 'no-funds' })
    expect(world.broadcasts).toEqual([])
  })
})

describe('a reorganisation', () => {
  test('sends a mined transaction again in the same bytes, and only the block that stays makes it final', async () => {
    await embedded.close()
    cpSync(join(directory.path, 'chain'), join(directory.path, 'fork'), { recursive: true })
    embedded = await openChainIn(join(directory.path, 'chain'), { keys })
    await using fork = await openChainIn(join(directory.path, 'fork'), { keys, startMs: 1_790_000_000_000 })

    const { sender, world } = newSender()
    world.meddle = finalAt('0x0')
    await sender.send(call('0xaa'))
    await sender.poll()
    const first = sender.transactions.get(1)!
    expect(first).toMatchObject({ status: 'mined' })

    world.inner = fork
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({
      status: 'sent',
      blockHash: null,
      note: `block ${first.blockNumber} was replaced`,
    })
    await sender.poll()
    await sender.poll()
    const second = sender.transactions.get(1)!
    expect(second).toMatchObject({ status: 'mined', minedHash: first.minedHash, nonce: 0 })
    expect(second.blockHash).not.toBe(first.blockHash)
    world.meddle = (request, forward) => forward(request)
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'final' })
    expect(new Set(world.broadcasts.map(({ raw }) => raw)).size).toBe(1)
  })

  test('is not believed from a receipt whose block is not in the chain', async () => {
    const { sender, world } = newSender()
    world.meddle = async (request, forward) => {
      const answer = await forward(request)
      return request.method === 'eth_getTransactionReceipt' && answer !== null
        ? { ...(answer as object), blockHash: `0x${'77'.repeat(32)}` }
        : answer
    }
    await sender.send(call('0xaa'))
    await sender.poll()
    expect(sender.transactions.get(1)).toMatchObject({ status: 'sent', blockHash: null })
  })
})

describe('a crash', () => {
  /** Sends 0xaa, then 0xbb, and looks after them, until both are final; `crashAt` counts requests from 0. */
  const live = async (setup: ReturnType<typeof newSender>, crashAt: number, before: boolean) => {
    const crash = new Error('killed')
    const { world } = setup
    let requests = 0
    world.meddle = async (request, forward) => {
      const dies = requests++ === crashAt
      if (dies && before) throw crash
      const answer = await forward(request)
      if (dies) throw crash
      return answer
    }
    let { database, sender } = setup
    for (let round = 0; round < 20; round++) {
      try {
        await sender.poll()
        const [first, second] = [sender.transactions.get(1), sender.transactions.get(2)]
        if (second?.status === 'final') return { requests, sender }
        if (first === undefined) await sender.send(call('0xaa'))
        else if (first.status === 'final' && second === undefined) await sender.send(call('0xbb'))
      } catch (error) {
        if (error !== crash) throw error
        database.close()
        ;({ database, sender } = setup.open())
      }
    }
    throw new Error('never final')
  }

  test('at any request to the node leaves out no nonce, uses none twice, and sends nothing twice', async () => {
    const { requests } = await live(newSender(), -1, true)
    expect(requests).toBeGreaterThan(15)
    for (let crashAt = 0; crashAt < requests; crashAt++)
      for (const before of [true, false]) {
        const setup = newSender()
        const { sender } = await live(setup, crashAt, before)
        const payloads = new Map<number, Set<string>>()
        for (const { nonce, payload } of setup.world.broadcasts)
          payloads.set(nonce, (payloads.get(nonce) ?? new Set()).add(payload))
        const where = `crashed ${before ? 'before' : 'after'} request ${crashAt}`
        expect([...payloads.keys()], where).toEqual([0, 1])
        for (const used of payloads.values()) expect(used.size, where).toBe(1)
        expect(sender.transactions.get(3), where).toBeUndefined()
        expect(await readNonce(embedded, setup.account.address, 'latest'), where).toBe(2)
        for (const database of opened.splice(0)) if (database.isOpen) database.close()
      }
  })

  test('leaves a database that a second process cannot open at the same time', () => {
    const { key } = newSender()
    expect(() => openDatabase(join(directory.path, `sender-${key}.sqlite`))).toThrow(
      /is in use by another process/,
    )
  })
})
