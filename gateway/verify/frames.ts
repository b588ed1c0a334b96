/** What radio nodes signed themselves, inside of the envelopes of a station: whose it is, and in which order. */
import { toHex } from '../reading/bytes.ts'
import { holdPositions } from '../reading/contents.ts'
import { framesFault, type HeardFrame } from '../reading/heard.ts'
import { type Entry, entryName } from './entries.ts'
import { type Checked, counted, failed, type NodeReport, type SignedBy } from './report.ts'

/** By station and envelope number: as a station signed them. */
const inOrder = (entries: readonly Entry[]): Entry[] =>
  entries.toSorted((a, b) => (a.station === b.station ? a.seq - b.seq : a.station < b.station ? -1 : 1))

/** Who signed each reading of an envelope, in their order; none where the station measured them itself. */
export const signersByPlace = (frames: readonly HeardFrame[]): readonly SignedBy[] =>
  frames.flatMap(({ publicKey, seq, message }) => {
    const quantities = message.readings[0]!.values.map(({ quantity }) => quantity)
    const by = { publicKey: toHex(publicKey), frame: seq, quantities }
    return message.readings.map(() => by)
  })

/** What there is of each node at each station; `isProven` says which of its readings count. */
const nodesOf = (
  entries: readonly Entry[],
  isProven: (reading: HeardFrame['readings'][number]) => boolean,
): NodeReport[] => {
  const nodes = new Map<string, NodeReport>()
  for (const { station, held } of entries)
    for (const { node, seq, publicKey, sensor, readings } of held?.frames ?? []) {
      const name = `${station}/${node}`
      const before = nodes.get(name)
      nodes.set(name, {
        station,
        publicKey: before?.publicKey ?? toHex(publicKey),
        sensors: before?.sensors.includes(sensor) ? before.sensors : [...(before?.sensors ?? []), sensor],
        frames: (before?.frames ?? 0) + 1,
        first: Math.min(before?.first ?? seq, seq),
        last: Math.max(before?.last ?? seq, seq),
        readings: (before?.readings ?? 0) + readings.filter(isProven).length,
      })
    }
  return [...nodes.values()]
}

const numbersText = ({ first, last }: NodeReport): string =>
  first === last ? `number ${first}` : `numbers ${first} to ${last}`

/** One line for people. */
const nodeText = (node: NodeReport): string =>
  `node ${node.publicKey}, as ${node.sensors.join(', ')} at station ${node.station}: ${counted(node.frames, 'frame')}, ${numbersText(node)}, ${counted(node.readings, 'reading')} of those asked for`

/**
 * Checks the signature of every node's frame with the key that its node's id is the hash of, that no frame of a node is
 * in a station's envelopes twice, and that its numbers ascend from envelope to envelope. Those that hold positions are a
 * lane of their own, as a station signs them beside the others.
 */
export const checkFrames = (
  entries: readonly Entry[],
  network: string,
  isProven: Parameters<typeof nodesOf>[1],
): { readonly checked: Checked; readonly nodes: readonly NodeReport[] } => {
  const seen = new Map<string, Entry>()
  const newest = new Map<string, { readonly seq: number; readonly entry: Entry }>()
  const ordered = inOrder(entries)
  const no = (entry: Entry, text: string) => {
    const { batch, leaf, station, seq } = entry
    return { checked: failed(text, { batch, leaf, station, seq }), nodes: [] }
  }
  for (const entry of ordered) {
    if (entry.held === null) continue
    const { frames, readings } = entry.held
    const fault = framesFault(frames, network)
    if (fault !== undefined) return no(entry, `${entryName(entry)}: ${fault.detail}`)
    const lane = holdPositions(readings) ? 'positions' : 'open'
    for (const { node, seq } of frames) {
      const name = `${entry.station}/${node}/${seq}`
      const other = seen.get(name)
      if (other !== undefined)
        return no(entry, `frame ${seq} of node ${node} is in ${entryName(other)} and in ${entryName(entry)}`)
      seen.set(name, entry)
      const before = newest.get(`${entry.station}/${node}/${lane}`)
      if (before !== undefined && seq < before.seq)
        return no(
          entry,
          `frame ${seq} of node ${node} is in ${entryName(entry)}, behind frame ${before.seq} in ${entryName(before.entry)}: it was held back`,
        )
      newest.set(`${entry.station}/${node}/${lane}`, { seq, entry })
    }
  }
  const nodes = nodesOf(ordered, isProven)
  const keys = new Set(nodes.map(({ publicKey }) => publicKey))
  const text = `${counted(seen.size, 'frame')} that ${counted(keys.size, 'node')} signed, each by the key its id is the hash of, none twice, their numbers ascending`
  return { checked: { ok: true, text, details: nodes.map(nodeText) }, nodes }
}
