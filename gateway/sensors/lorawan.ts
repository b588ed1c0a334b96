/** LoRaWAN frames as gateways hear them: whose they are, whether they are whole and new, and what is in them. */
import { loraPacket } from './lora-packet.ts'
import type { Devices, Session } from './lorawan-devices.ts'
import type { Counters, Outcome, Radio, RefusalReason } from './sensors.ts'

// LoRaWAN 1.0.4, chapter 4. MHDR: type in bits 7..5, major version in bits 1..0.
const typeNames = [
  'a join request',
  'a join accept',
  'data',
  'a downlink',
  'confirmed data',
  'a confirmed downlink',
  'a rejoin request',
  'a proprietary frame',
] as const
const isUplink = (type: number): boolean => type === 2 || type === 4
// MHDR 1, DevAddr 4, FCtrl 1, FCnt 2, FOpts 0..15, [FPort 1, FRMPayload], MIC 4.
const shortestData = 12
const optionsAt = 8
const micBytes = 4
// MHDR 1, JoinEUI 8, DevEUI 8, DevNonce 2, MIC 4.
const joinRequestBytes = 23
/** The longest PHYPayload a LoRa modem sends. */
export const maxPhyBytes = 255
const lastApplicationPort = 223

// A device is heard by several gateways at once, and its repetitions come within seconds.
const sameTransmissionMs = 10_000
// A device that is heard for the first time may have counted past 16 bits long ago: so many times, at most.
const firstRollovers = 16

const refused = (reason: RefusalReason, detail: string): Outcome => ({ kind: 'refused', reason, detail })
const control = (what: string): Outcome => ({ kind: 'control', what })

/** The upper half of a frame counter as the cipher wants it: low byte first. */
const upperHalf = (counter: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(Math.floor(counter / 65_536))
  return bytes
}

type Packet = ReturnType<typeof loraPacket.fromWire>

// What it makes of bytes that are no frame is its own affair: a throw is a no.
const attempt = <Result>(make: () => Result): Result | undefined => {
  try {
    return make()
  } catch {
    return undefined
  }
}

const isWhole = (packet: Packet, nwkSKey: Buffer, counter: number): boolean =>
  attempt(() => loraPacket.verifyMIC(packet, nwkSKey, undefined, upperHalf(counter))) === true

/**
 * Counters that a frame may mean by its lower 16 bits, the likeliest first, all above `last`; where none is known, `from`
 * and above.
 */
const candidates = (last: number | undefined, low: number, from: number): number[] => {
  if (last === undefined)
    return Array.from(
      { length: firstRollovers },
      (_, upper) => (Math.floor(from / 65_536) + upper) * 65_536 + low,
    ).filter((one) => one >= from && one <= 0xffff_ffff)
  const same = last - (last % 65_536) + low
  const next = same > last ? same : same + 65_536
  return next > 0xffff_ffff ? [] : [next]
}

type Taken = { readonly phy: Uint8Array; readonly atMs: number }

/** Turns frames into outcomes; state is the newest frame of each device, so that it is read once. */
export type Lorawan = (phy: Uint8Array, radio: Radio, atMs: number) => Outcome

/**
 * A reader of frames for these devices. A frame is an uplink once: its MIC fits the session's key, and its 32-bit
 * counter is above the last, which is on disk before the uplink is given. The same transmission heard by another
 * gateway is a control; an older one is refused as a replay. LoRaWAN 1.0.x; never throws.
 */
export const lorawan = ({ sessions, joiners }: Devices, counters: Counters): Lorawan => {
  const newest = new Map<Session, Taken>()
  const keep = ({ counter: name }: Session, counter: number): boolean =>
    attempt(() => {
      counters.set(name, counter)
      return true
    }) ?? false

  const joinRequest = (phy: Uint8Array): Outcome => {
    if (phy.length !== joinRequestBytes)
      return refused('length', `a join request of ${phy.length} bytes where ${joinRequestBytes} are right`)
    const packet = attempt(() => loraPacket.fromWire(Buffer.from(phy)))
    const devEui = packet?.DevEUI?.toString('hex') ?? ''
    const joiner = joiners.get(devEui)
    if (!packet || !joiner)
      return refused('not-configured', `device ${devEui} wants to join and is not listed`)
    if (attempt(() => loraPacket.verifyMIC(packet, undefined, joiner.appKey)) !== true)
      return refused('checksum', `MIC of a join request of ${joiner.node} is wrong`)
    return control(
      `${joiner.node} wants to join: a station that listens cannot answer; set its session’s keys`,
    )
  }

  const dataOf = (session: Session, packet: Packet, counter: number, radio: Radio): Outcome => {
    const port = packet.FPort?.length === 1 ? packet.FPort[0]! : undefined
    if (port === undefined) return control(`${session.node} sent MAC commands only`)
    if (port === 0 || port > lastApplicationPort)
      return control(`${session.node} sent MAC data on port ${port}`)
    const payload = attempt(() =>
      loraPacket.decrypt(packet, session.appSKey, session.nwkSKey, upperHalf(counter)),
    )
    if (!payload) return refused('layout', `the payload of ${session.node} cannot be read`)
    return { kind: 'uplink', node: session.node, payload: new Uint8Array(payload), port, radio }
  }

  const data = (phy: Uint8Array, radio: Radio, atMs: number): Outcome => {
    if (phy.length < shortestData || optionsAt + (phy[5]! & 0x0f) + micBytes > phy.length)
      return refused('length', `${phy.length} bytes are no data frame`)
    const packet = attempt(() => loraPacket.fromWire(Buffer.from(phy)))
    const devAddr = packet?.DevAddr?.toString('hex') ?? ''
    const listed = sessions.get(devAddr)
    if (!packet || !listed) return refused('not-configured', `device ${devAddr} is not listed`)
    const low = phy[6]! | (phy[7]! << 8)

    for (const session of listed) {
      const last = counters.get(session.counter)
      const counter = candidates(last, low, session.counterFrom).find((one) =>
        isWhole(packet, session.nwkSKey, one),
      )
      if (counter !== undefined) {
        // A counter that is not on disk would let the same frame in again after a restart.
        if (!keep(session, counter))
          return refused('device-error', `the frame counter of ${session.node} could not be kept`)
        newest.set(session, { phy: phy.slice(), atMs })
        return dataOf(session, packet, counter, radio)
      }
      if (last === undefined) continue
      const same = last - (last % 65_536) + low
      const before = same > last ? same - 65_536 : same
      if (before < 0 || !isWhole(packet, session.nwkSKey, before)) continue
      const taken = newest.get(session)
      if (taken && atMs - taken.atMs <= sameTransmissionMs && Buffer.compare(taken.phy, phy) === 0)
        return control(`${session.node} was heard again by another gateway`)
      return refused('replay', `frame ${before} of ${session.node} is not newer than ${last}`)
    }
    // The counter is part of what the MIC is of: where it is far from what was expected, good keys look wrong.
    const counted = listed.some((session) => counters.get(session.counter) !== undefined)
    return refused(
      'checksum',
      `MIC of a frame of ${devAddr} is wrong: it has other keys, or its counter ${
        counted
          ? 'began anew or went far ahead (raise "counterEpoch" of the device by one)'
          : `is past ${firstRollovers * 65_536} (set "counterFrom" of the device to what it has counted)`
      }`,
    )
  }

  return (phy, radio, atMs) => {
    if (phy.length === 0 || phy.length > maxPhyBytes)
      return refused('length', `${phy.length} bytes are no LoRaWAN frame`)
    const type = phy[0]! >> 5
    if ((phy[0]! & 0x03) !== 0) return refused('unknown', `major version ${phy[0]! & 0x03} of LoRaWAN`)
    if (isUplink(type)) return data(phy, radio, atMs)
    return type === 0 ? joinRequest(phy) : control(`heard ${typeNames[type]}`)
  }
}
