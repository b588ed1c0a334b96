/** Quantities that say something about the device or its place, not about the world a buyer asks for. */
import type { QuantityName } from '../reading/quantity.ts'

/** Not scored, and why. No rule looks at their values, and they weigh nothing in a reading's score. */
export const unscored: ReadonlyMap<string, string> = new Map<QuantityName, string>([
  ['battery', 'state of the device'],
  ['battery_voltage', 'state of the device'],
  ['rssi', 'state of the radio link'],
  ['snr', 'state of the radio link'],
  ['latitude', 'a place: used by location checks, never sold'],
  ['longitude', 'a place: used by location checks, never sold'],
  ['altitude', 'a place: used by location checks, never sold'],
  ['satellites', 'quality of a position fix'],
  ['hdop', 'quality of a position fix'],
  ['speed', 'movement of the station: near zero and noisy when it stands'],
])
