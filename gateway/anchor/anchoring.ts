/** Brings the roots of queued batches onto the chain, one careful step at a time. */
import type { DatabaseSync } from 'node:sqlite'
import { type Address, bytesToHex, keccak256 } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { type AnchorRow, type AnchorRows, anchorsOf, type Root } from './anchors.ts'
import type { Chain } from './chain.ts'
import { type ChainRow, chainsOf } from './chains.ts'
import { anchorCodeHash, encodeAnchor, encodeDeployment } from './contract/contract.ts'
import { checkIdentity } from './identity.ts'
import { readBlock, readChainId, readCode } from './node.ts'
import { openSender, type Sender, type SenderOptions } from './sender.ts'
import { findAnchored } from './slot.ts'

export type AnchoringOptions = SenderOptions & {
  /** The only chain to anchor on; whichever the node serves unless told. */
  readonly chainId?: number
  /** A contract that is there already; one is deployed unless told. */
  readonly contract?: Address
  /** Who may grant and revoke anchorers of a contract that is deployed; the sender's own address unless told. */
  readonly admin?: Address
  /** Start again on another chain when ours is gone: for development chains, where that is nobody's loss. */
  readonly allowReset?: boolean
  /** Most batches under one root; 1024 unless told. */
  readonly maxBatchesPerRoot?: number
}

export type AnchoringDeps = {
  readonly database: DatabaseSync
  readonly chain: Chain
  readonly account: PrivateKeyAccount
  readonly nowMs: () => number
}

/**
 * How a step ended. `idle`: everything is final. `busy`: something is under way, look again soon. `waiting`: nothing
 * can be sent for now, and why; it will be tried again. `stopped`: a person has to decide; tried again all the same.
 */
export type Step =
  | { readonly state: 'idle' | 'busy' }
  | {
      readonly state: 'waiting'
      readonly reason: 'fee-above-cap' | 'no-funds' | 'would-revert'
      readonly detail: string
    }
  | { readonly state: 'stopped'; readonly detail: string }

// A transaction that was estimated well and fails all the same costs gas each time.
const maxFailures = 5

/** A chain with what works on its rows. */
type Opened = { readonly row: ChainRow; readonly sender: Sender; readonly anchors: AnchorRows }

const stopped = (detail: string): Step => ({ state: 'stopped', detail })

/** Steps must not run at the same time. A step throws ChainUnreachable or RpcError when the chain fails: step again later. */
export const openAnchoring = (deps: AnchoringDeps, options: AnchoringOptions) => {
  const { database, chain, account, nowMs } = deps
  const chains = chainsOf(database)
  let opened: Opened | undefined
  let recognised = false
  let failures = 0

  const openRow = (row: ChainRow): Opened => {
    if (opened?.row.id !== row.id) {
      const senderDeps = { database, chain, chainRow: row.id, chainId: row.chainId, account, nowMs }
      opened = { row, sender: openSender(senderDeps, options), anchors: anchorsOf(database, row.id) }
    }
    return { ...opened, row }
  }

  /** Notes a chain seen for the first time, with its contract where one was configured. */
  const meet = async (): Promise<Step | undefined> => {
    const chainId = await readChainId(chain)
    if (options.chainId !== undefined && options.chainId !== chainId)
      return stopped(
        `${chain.name} serves chain ${chainId}, and anchoring is set to chain ${options.chainId}`,
      )
    const genesis = await readBlock(chain, 0)
    if (genesis === undefined) return stopped(`${chain.name} has no block 0 to know the chain by`)
    const { contract } = options
    const code = contract === undefined ? '0x' : await readCode(chain, contract)
    if (contract !== undefined && code === '0x')
      return stopped(`${chain.name} has no contract at ${contract}. Correct the address, or leave it out`)
    chains.add(chainId, genesis.hash)
    if (contract !== undefined) chains.setContract(chains.current()!.id, contract, keccak256(code))
    return undefined
  }

  /** Makes sure that the node speaks for the chain in the database, or turns to the one it speaks for. */
  const recognise = async (): Promise<Step | undefined> => {
    const row = chains.current()
    if (row === undefined) return meet()
    if (options.contract !== undefined && options.contract.toLowerCase() !== row.contract?.toLowerCase()) {
      chains.leave(row.id, 'stands', nowMs())
      return meet()
    }
    const { transactions, takeBackReplaced } = openRow(row).sender
    const last = transactions.lastBelow(Number.MAX_SAFE_INTEGER)
    const deployment = row.deployment === null ? undefined : transactions.get(row.deployment)
    const identity = await checkIdentity(chain, {
      chainId: row.chainId,
      genesisHash: row.genesisHash,
      contract:
        row.contract === null || row.codeHash === null
          ? null
          : {
              address: row.contract,
              codeHash: row.codeHash,
              final: deployment === undefined || deployment.status === 'final',
            },
      last: last === undefined ? null : { blockNumber: last.blockNumber!, blockHash: last.blockHash! },
    })
    if (identity.kind === 'reorg') await takeBackReplaced()
    if (identity.kind === 'reset') {
      if (!options.allowReset || options.contract !== undefined)
        return stopped(
          `this is not the chain that was anchored on: ${identity.detail}. ` +
            'Point to the right node; nothing is sent until then',
        )
      chains.leave(row.id, 'lost', nowMs())
      return meet()
    }
    // Somebody else's transaction took the nonce of the deployment, so its address will stay empty.
    if (row.contract !== null && deployment?.status === 'superseded') {
      chains.leave(row.id, 'lost', nowMs())
      return meet()
    }
    return undefined
  }

  const outcome = (sent: Awaited<ReturnType<Sender['send']>>): Step => {
    if (sent.ok || sent.reason === 'in-flight') return { state: 'busy' }
    return { state: 'waiting', reason: sent.reason, detail: sent.detail }
  }

  /** Deploys the contract unless it is there; undefined once its address is known. */
  const needContract = async ({ row, sender }: Opened): Promise<Step | undefined> => {
    if (row.contract !== null) return undefined
    const deployment = row.deployment === null ? undefined : sender.transactions.get(row.deployment)
    if (deployment?.status === 'signed' || deployment?.status === 'sent') return { state: 'busy' }
    if (deployment !== undefined && deployment.succeeded === true && deployment.status !== 'superseded') {
      const address = sender.contractOf(deployment)
      const codeHash = keccak256(await readCode(chain, address))
      if (codeHash !== anchorCodeHash)
        return stopped(`the contract deployed at ${address} has other code than was sent`)
      chains.setContract(row.id, address, codeHash)
      return undefined
    }
    if (deployment?.succeeded === false && ++failures > maxFailures)
      return stopped(`deploying the contract failed ${maxFailures} times`)
    return outcome(
      await sender.send({
        to: null,
        data: encodeDeployment(options.admin ?? account.address, account.address),
        event: null,
        keep: (transaction) => chains.setDeployment(row.id, transaction),
      }),
    )
  }

  /** A root that is on the chain already counts, whoever sent it. */
  const adopt = async (
    { sender, anchors }: Opened,
    contract: Address,
    root: Root | AnchorRow,
  ): Promise<boolean> => {
    const mined = await findAnchored(chain, contract, root.root)
    if (mined !== undefined) anchors.adopt(root, mined, sender.transactions, nowMs())
    return mined !== undefined
  }

  const sendNext = async (on: Opened, contract: Address): Promise<Step | undefined> => {
    const { sender, anchors } = on
    const root = anchors.next(options.maxBatchesPerRoot ?? 1024)
    if (root === undefined) return undefined
    if (failures > maxFailures) return stopped(`${maxFailures} transactions failed that should not have`)
    const sent = await sender.send({
      to: contract,
      data: encodeAnchor(root.root, root.firstBatch, root.batches),
      event: bytesToHex(root.root),
      keep: (transaction) => anchors.carry(root, transaction),
    })
    if (!sent.ok && sent.reverts === 'AlreadyAnchored' && (await adopt(on, contract, root)))
      return { state: 'busy' }
    return outcome(sent)
  }

  /** Whether the next step could send something, and so must know whom it talks to. */
  const wouldSend = ({ row, sender, anchors }: Opened): boolean =>
    row.contract === null || sender.transactions.unfinished().length > 0 || anchors.waiting()

  const step = async (): Promise<Step> => {
    const before = chains.current()
    if (!recognised || before === undefined || wouldSend(openRow(before))) {
      recognised = false
      const trouble = await recognise()
      if (trouble !== undefined) return trouble
      recognised = true
    }
    const on = openRow(chains.current()!)
    const { sender, anchors } = on
    await sender.poll()
    const trouble = await needContract(on)
    if (trouble !== undefined) return trouble
    const contract = chains.current()!.contract!
    for (const failed of anchors.failed()) {
      if (await adopt(on, contract, failed)) continue
      failures += 1
      anchors.drop(failed)
    }
    anchors.release()
    const next = await sendNext(on, contract)
    if (next !== undefined) return next
    const { transactions } = sender
    return { state: transactions.unfinished().length + transactions.mined().length > 0 ? 'busy' : 'idle' }
  }

  return {
    /** Wei, as last seen; null before anything was sent. */
    balanceWei: (): bigint | null => opened?.sender.balanceWei ?? null,
    /** Goes on as far as it can without waiting. */
    step: async (): Promise<Step> => {
      try {
        const done = await step()
        // It may be long until the next step, and another chain that answers then.
        if (done.state === 'idle') recognised = false
        return done
      } catch (error) {
        // After silence it may be another chain that answers.
        recognised = false
        throw error
      }
    },
  }
}

export type Anchoring = ReturnType<typeof openAnchoring>
