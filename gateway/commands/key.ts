/** `groundtruth key` */
import { join } from 'node:path'
import { credentialsDirectory } from '../config.ts'
import { openKey } from '../keys.ts'
import type { SharedOptions } from '../main.ts'
import { toHex } from '../reading/bytes.ts'
import { stationId } from '../reading/key.ts'
import { signOwner } from '../reading/owner.ts'
import { configured } from './running.ts'

/** Prints who this station is; the private key is never shown. */
export const key = async (options: SharedOptions & { json: boolean; account?: string }): Promise<void> => {
  const config = configured(options)
  const uri = config.edge.key ?? `file:${join(config.data, 'edge', 'station.key')}`
  const signer = openKey(uri, credentialsDirectory(process.env))
  const { publicKey } = signer
  const claim: { readonly claim?: string } =
    options.account === undefined
      ? {}
      : { claim: signOwner(config.network, signer, options.account, Date.now()) }
  const shown = { station: stationId(publicKey), publicKey: toHex(publicKey), key: uri, ...claim }
  process.stdout.write(
    options.json
      ? `${JSON.stringify(shown)}\n`
      : `station     ${shown.station}\npublic key  ${shown.publicKey}\nkept in     ${shown.key}\n${claim.claim === undefined ? '' : `claim       ${claim.claim}\n`}`,
  )
}
