/** Every kind of simulated device: adding one is its file and one line here. */
import type { Kind } from './device.ts'
import { gnssKind } from './gnss.ts'
import { loraModemKind } from './lora-modem.ts'
import { microcontrollerKind } from './microcontroller.ts'
import { novaKind } from './nova.ts'
import { plantowerKind } from './plantower.ts'

export const kinds = {
  plantower: plantowerKind,
  nova: novaKind,
  microcontroller: microcontrollerKind,
  gnss: gnssKind,
  lora: loraModemKind,
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof kinds
