/** The chains that roots went to, as the database keeps them: one is in use, the others were left. */
import type { DatabaseSync } from 'node:sqlite'
import type { Address, Hex } from 'viem'
import { atomically } from '../journal/sqlite.ts'

/** `deployment` is the transaction that made the contract; null where the contract was there before. */
export type ChainRow = {
  readonly id: number
  readonly chainId: number
  readonly genesisHash: Hex
  readonly contract: Address | null
  readonly codeHash: Hex | null
  readonly deployment: number | null
}

/** Rows of `chains`. Every change is on disk when its call returns. */
export const chainsOf = (database: DatabaseSync) => {
  const current = database.prepare('SELECT * FROM chains WHERE left_ms IS NULL ORDER BY id DESC LIMIT 1')
  const insert = database.prepare('INSERT INTO chains (chain_id, genesis_hash) VALUES (?, ?)')
  const setDeployment = database.prepare('UPDATE chains SET deployment = ? WHERE id = ?')
  const setContract = database.prepare('UPDATE chains SET contract = ?, code_hash = ? WHERE id = ?')
  const leave = database.prepare('UPDATE chains SET left_ms = ? WHERE id = ?')
  const giveUp = database.prepare(
    `UPDATE transactions SET status = 'superseded', note = 'the chain was left'
     WHERE chain = ? AND status IN ('signed', 'sent', 'mined')`,
  )
  const queueAgain = (keepFinal: boolean) =>
    database.prepare(
      `UPDATE batches SET anchor = NULL WHERE anchor IN (
         SELECT a.id FROM anchors a LEFT JOIN transactions t ON t.id = a.tx
         WHERE a.chain = ? ${keepFinal ? "AND t.status IS NOT 'final'" : ''})`,
    )
  const queueAll = queueAgain(false)
  const queueUnfinished = queueAgain(true)

  return {
    current: (): ChainRow | undefined => {
      const row = current.get()
      if (row === undefined) return undefined
      return {
        id: row.id as number,
        chainId: row.chain_id as number,
        genesisHash: row.genesis_hash as Hex,
        contract: row.contract as Address | null,
        codeHash: row.code_hash as Hex | null,
        deployment: row.deployment as number | null,
      }
    },
    add: (chainId: number, genesisHash: Hex): void => {
      insert.run(chainId, genesisHash)
    },
    setDeployment: (id: number, transaction: number): void => {
      setDeployment.run(transaction, id)
    },
    setContract: (id: number, contract: Address, codeHash: Hex): void => {
      setContract.run(contract, codeHash, id)
    },
    /**
     * Turns to another chain or contract. Batches anchored on the old one are queued again: all of them when it is
     * lost, those without a final root when it stands.
     */
    leave: (id: number, state: 'lost' | 'stands', nowMs: number): void => {
      atomically(database, () => {
        ;(state === 'lost' ? queueAll : queueUnfinished).run(id)
        giveUp.run(id)
        leave.run(nowMs, id)
      })
    },
  }
}
