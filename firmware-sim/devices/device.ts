/** The port of a simulated device: bytes out at its own pace, commands in, as the real one has it on its wire. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import type { Settings } from '../../gateway/sensors/sensors.ts'
import type { OpenOutlet } from '../outlets/outlet.ts'
import type { Conditions, Place } from '../world.ts'

/** What a device meant by something it said: the values as they should be read, by the device or a node of it. */
export type Meant = { readonly node?: string; readonly measurements: readonly Measurement[] }

/** Bytes on the wire and what they mean, so that a test can count and compare. */
export type Emission = { readonly bytes: Uint8Array; readonly meant: readonly Meant[] }

/** One device. It keeps its own state (asleep, passive, set up); time comes with each call, UTC milliseconds. */
export type Device = {
  /** The gateway's driver for it, and the settings that the owner would write. */
  readonly model: string
  readonly settings: Settings
  readonly baudRate: number
  readonly intervalMs: number
  /** What it is plugged into where it calls the gateway by itself, over a network; a socket in the wall otherwise. */
  readonly outlet?: OpenOutlet
  /** What it says by itself at this moment; undefined where it keeps silent. */
  readonly speak: (timeMs: number) => Emission | undefined
  /** Takes bytes from the gateway, whole commands or parts; gives what it answers. */
  readonly hear: (bytes: Uint8Array, timeMs: number) => readonly Emission[]
  /** Power comes back: state is as after a reset, and this is the banner. */
  readonly powerOn: (timeMs: number) => readonly Emission[]
}

/** What a simulated device is made of; everything about it that varies is drawn from its seed. */
export type Site = {
  readonly seed: number
  /** What nodes sign for. */
  readonly network: string
  readonly place: Place
  /** The air at a place. */
  readonly airAt: (place: Place) => (timeMs: number) => Conditions
  /** How often it, or each node behind it, says a reading. */
  readonly intervalMs: number
  /** How long it says nothing useful after power comes. */
  readonly warmUpMs: number
}

/** A kind of device, for fleets: the usual id of such a sensor, and how one is made. One line each in `all.ts`. */
export type Kind = { readonly sensor: string; readonly make: (site: Site) => Device }

// No command of these devices is longer; a gateway that sends more is not understood, and not stored.
const maxPending = 128

/**
 * Collects bytes until `take` finds a command: it gives how many bytes to drop and, where there is one, the
 * command; zero bytes mean that more are needed.
 */
export const commandReader = (
  take: (bytes: Uint8Array) => { readonly drop: number; readonly command?: Uint8Array },
): ((bytes: Uint8Array) => readonly Uint8Array[]) => {
  let pending = new Uint8Array()
  return (bytes) => {
    const commands: Uint8Array[] = []
    pending = new Uint8Array(Buffer.concat([pending, bytes]).subarray(-maxPending))
    while (pending.length > 0) {
      const { drop, command } = take(pending)
      if (command) commands.push(command)
      if (drop === 0) break
      pending = pending.slice(drop)
    }
    return commands
  }
}

/** An answer to a command: bytes that mean no reading. */
export const answer = (bytes: Uint8Array): Emission => ({ bytes, meant: [] })

/** A value as a device with so many decimals prints it. */
export const rounded = (value: number, decimals: number): number => Number(value.toFixed(decimals))
