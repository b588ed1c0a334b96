/** How a station is doing, as it is handed to the status topic, to Prometheus and to systemd. */
import type { LinkStatus } from '../link/supervise.ts'
import type { OutboxStatus } from '../outbox/outbox.ts'
import type { RelayStatus } from '../relay/relay.ts'
import type { Refusal } from '../sensors/read.ts'
import type { RefusalReason } from '../sensors/sensors.ts'
import type { TimedStatus } from '../time/timed.ts'
import type { Trouble } from './trouble.ts'

/** What a sensor has said. Counters start at zero when the process starts. */
export type SensorStatus = {
  readonly id: string
  readonly model: string
  readonly link: LinkStatus
  readonly readings: number
  readonly refused: number
  readonly refusals: Readonly<Partial<Record<RefusalReason, number>>>
  readonly lastRefusal: Refusal | null
  /** When the newest reading was received, UTC; null before the first. */
  readonly lastReadingMs: number | null
}

/** A station as a whole. */
export type StationStatus = {
  readonly station: string
  readonly sensors: readonly SensorStatus[]
  readonly outbox: OutboxStatus
  readonly relay: RelayStatus
  /** What is known of the time, and what waits for it. */
  readonly time: TimedStatus
  /** What is wrong with disk, clock and the way to the hub. */
  readonly troubles: readonly Trouble[]
  readonly readings: number
  readonly refused: number
}
