/** SenML packs in CBOR (RFC 8428 s6), content format 112. */
import { type CborBounds, CborWriter, decodeCbor } from './cbor.ts'
import { type Refused, refused } from './refusal.ts'
import { checkRecords, type SenmlLabel, type SenmlRecord, senmlLabels } from './senml-record.ts'

/** `application/senml+cbor` in the CoAP content format registry: the COSE content type of such a payload. */
export const senmlContentFormat = 112

/** Third parties write floats, and the labels in the order of RFC 8428's examples. */
export const senmlBounds: CborBounds = {
  maxBytes: 8192,
  maxDepth: 4,
  maxItems: 8192,
  floats: true,
  anyOrder: true,
}

const labels = Object.entries(senmlLabels) as [SenmlLabel, (typeof senmlLabels)[SenmlLabel]][]
const byCbor: ReadonlyMap<number, SenmlLabel> = new Map(labels.map(([label, { cbor }]) => [cbor, label]))

// Deterministic order (RFC 8949 s4.2.1): 0, 1, 2 ... before -1, -2 ...
const order = labels
  .map(([label, { cbor }]) => ({ label, cbor }))
  .sort((a, b) => (a.cbor < 0 ? 32 - a.cbor : a.cbor) - (b.cbor < 0 ? 32 - b.cbor : b.cbor))

/** Whole numbers as integers, others as 32-bit floats where they lose nothing, else 64-bit ones. */
const writeNumber = (writer: CborWriter, value: number): void => {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 32) {
    writer.int(value === 0 ? 0 : value)
    return
  }
  const bytes = new Uint8Array(9)
  const view = new DataView(bytes.buffer)
  if (Math.fround(value) === value) {
    bytes[0] = 0xfa
    view.setFloat32(1, value)
    writer.raw(bytes.subarray(0, 5))
  } else {
    bytes[0] = 0xfb
    view.setFloat64(1, value)
    writer.raw(bytes)
  }
}

/** The pack as one CBOR array of maps, keys in ascending order. */
export const encodeSenmlCbor = (records: readonly SenmlRecord[]): Uint8Array => {
  const writer = new CborWriter().array(records.length)
  for (const record of records) {
    const present = order.filter(({ label }) => record[label] !== undefined)
    writer.map(present.length)
    for (const { label, cbor } of present) {
      const value = record[label]
      writer.int(cbor)
      if (typeof value === 'number') writeNumber(writer, value)
      else if (typeof value === 'string') writer.text(value)
      else if (value instanceof Uint8Array) writer.bytes(value)
      else writer.raw(Uint8Array.of(value ? 0xf5 : 0xf4))
    }
  }
  return writer.finish()
}

/** Reads a pack from outside, within `senmlBounds`; labels may be integers or, as extensions are, text. */
export const decodeSenmlCbor = (
  bytes: Uint8Array,
): { readonly ok: true; readonly records: readonly SenmlRecord[] } | Refused => {
  const decoded = decodeCbor(bytes, senmlBounds)
  if (!decoded.ok) return refused('bad-payload', decoded.detail)
  if (!Array.isArray(decoded.value)) return refused('bad-payload', 'a SenML pack is an array')
  const pack: unknown[] = []
  for (const item of decoded.value) {
    if (!(item instanceof Map)) return refused('bad-payload', 'a SenML record is a map')
    const record: Record<string, unknown> = {}
    for (const [key, value] of item) {
      // Known labels have numbers in CBOR; their names as text would be a second way to say the same.
      const label = typeof key === 'number' ? byCbor.get(key) : key
      if (label === undefined) continue
      if (typeof key === 'string' && Object.hasOwn(senmlLabels, key))
        return refused('bad-payload', `the SenML label ${key} as text`)
      Object.defineProperty(record, label, {
        value: value instanceof Uint8Array ? value.slice() : value,
        enumerable: true,
      })
    }
    pack.push(record)
  }
  return checkRecords(pack)
}
