/** Declarations that a bundle holds beside its leaves: what a station said later about numbers that are missing here. */
import { verify } from '#ed25519'
import type { Bundle } from '../reading/bundle.ts'
import { toHex } from '../reading/bytes.ts'
import { toBeSigned } from '../reading/cose.ts'
import { decodeDropped, droppedContentType } from '../reading/dropped.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import type { Declaration } from './lost.ts'
import type { Fault } from './report.ts'

/** Those of each station, every one signed by its key for the bundle's network; the first that is not is the answer. */
export const openElsewhere = ({
  stations,
  network,
}: Pick<Bundle, 'stations' | 'network'>):
  | { readonly ok: true; readonly elsewhere: ReadonlyMap<string, readonly Declaration[]> }
  | Fault => {
  const elsewhere = new Map<string, Declaration[]>()
  for (const { station, publicKey, declarations } of stations) {
    const opened: Declaration[] = []
    for (const bytes of declarations) {
      const bad = (what: string, seq?: number): Fault => ({
        ok: false,
        text: `a declaration of station ${station} ${what}`,
        station,
        ...(seq === undefined ? {} : { seq }),
      })
      const decoded = decodeEnvelope(bytes)
      if (!decoded.ok) return bad(`cannot be read: ${decoded.detail}`)
      const { kid, seq, contentType, payload, protectedBytes, signature } = decoded.envelope
      if (toHex(kid) !== station) return bad(`names another key in its kid: ${toHex(kid)}`, seq)
      const declared = contentType === droppedContentType ? decodeDropped(payload, seq) : undefined
      if (declared === undefined) return bad(`is none: envelope ${seq} has another content type`, seq)
      if (!declared.ok) return bad(`cannot be read: ${declared.detail}`, seq)
      if (seq <= (opened.at(-1)?.seq ?? 0)) return bad(`is out of order: envelope ${seq}`, seq)
      if (!verify(signature, toBeSigned(protectedBytes, payload, network), publicKey))
        return bad(`has a signature that does not fit its bytes, its key and network ${network}`, seq)
      opened.push({ seq, dropped: declared.dropped })
    }
    elsewhere.set(station, opened)
  }
  return { ok: true, elsewhere }
}
