/** How a sensor is doing, in one word, from what its link and driver have counted. */
import type { SensorStatus } from './status.ts'

/**
 * `ok`: readings come. `waiting`: open, nothing yet, and that may be normal. `noise`: bytes come, but hardly a frame among
 * them. `refused`: frames come, and none of the last ones could be read. Otherwise the link's own trouble.
 */
export type SensorState =
  | 'ok'
  | 'waiting'
  | 'noise'
  | 'refused'
  | NonNullable<SensorStatus['link']['trouble']>

// A torn frame at the start is normal; this much without a frame is not.
const noiseBytes = 512

/** The state of a sensor now. */
export const sensorState = ({
  link,
  readings,
  refused,
  lastRefusal,
  lastReadingMs,
}: SensorStatus): SensorState => {
  if (link.trouble !== null) return link.trouble
  if (link.frames === 0) return link.skippedBytes > noiseBytes ? 'noise' : 'waiting'
  if (readings > 0 && !(lastRefusal !== null && lastRefusal.timeMs > lastReadingMs!)) return 'ok'
  // One bad frame after a good one is a day on a cable; refusals alone are a wrong setting.
  if (readings > 0) return refused > readings ? 'refused' : 'ok'
  return refused > 0 ? 'refused' : 'waiting'
}

/** What to do about a sensor that is not well. */
export const sensorAdvice: Readonly<Partial<Record<SensorState, string>>> = {
  noise: 'Check the baud rate, the model, and the wiring (ground, and TX to RX).',
  refused: 'Check the model and its settings; the last refusal says why.',
  missing: 'Plug the device in; "groundtruth doctor" lists the ports there are.',
  permission: 'Run "sudo usermod -aG dialout $USER", log out and in again.',
  busy: 'Stop the program that holds the port; "groundtruth doctor" names it.',
}
