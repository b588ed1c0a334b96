/** Every kind of simulated device: adding one is its file and one line here. */
import type { Kind } from './device.ts'
import { geigerKind } from './geiger.ts'
import { gnssKind } from './gnss.ts'
import { honeywellKind } from './honeywell.ts'
import { loraModemKind } from './lora-modem.ts'
import { mcu680Kind } from './mcu680.ts'
import { microcontrollerKind } from './microcontroller.ts'
import { novaKind } from './nova.ts'
import { plantowerKind } from './plantower.ts'
import { sensirionKind } from './sensirion.ts'
import { winsenKind } from './winsen.ts'

export const kinds = {
  plantower: plantowerKind,
  nova: novaKind,
  sensirion: sensirionKind,
  honeywell: honeywellKind,
  winsen: winsenKind,
  geiger: geigerKind,
  mcu680: mcu680Kind,
  microcontroller: microcontrollerKind,
  gnss: gnssKind,
  lora: loraModemKind,
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof kinds
