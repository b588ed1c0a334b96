/** Every kind of simulated device: adding one is its file and one line here. */
import { basicsStationKind } from './basics-station.ts'
import { davisKind } from './davis.ts'
import type { Kind } from './device.ts'
import { dhtKind } from './dht.ts'
import { ebyteKind } from './ebyte.ts'
import { geigerKind } from './geiger.ts'
import { gnssKind } from './gnss.ts'
import { honeywellKind } from './honeywell.ts'
import { loraE5Kind } from './lora-e5.ts'
import { loraModemKind } from './lora-modem.ts'
import { mcu680Kind } from './mcu680.ts'
import { meshtasticKind } from './meshtastic.ts'
import { microcontrollerKind } from './microcontroller.ts'
import { modbusKind, senseairKind } from './modbus.ts'
import { novaKind } from './nova.ts'
import { packetForwarderKind } from './packet-forwarder.ts'
import { plantowerKind } from './plantower.ts'
import { rak811Kind } from './rak811.ts'
import { rak3172Kind } from './rak3172.ts'
import { rn2483Kind } from './rn2483.ts'
import { rtl433Kind } from './rtl433.ts'
import { sensirionKind } from './sensirion.ts'
import { ubloxKind } from './ublox.ts'
import { vaisalaKind } from './vaisala.ts'
import { winsenKind } from './winsen.ts'

export const kinds = {
  plantower: plantowerKind,
  nova: novaKind,
  sensirion: sensirionKind,
  honeywell: honeywellKind,
  winsen: winsenKind,
  senseair: senseairKind,
  modbus: modbusKind,
  geiger: geigerKind,
  mcu680: mcu680Kind,
  microcontroller: microcontrollerKind,
  gnss: gnssKind,
  lora: loraModemKind,
  ebyte: ebyteKind,
  rak3172: rak3172Kind,
  rak811: rak811Kind,
  'lora-e5': loraE5Kind,
  rn2483: rn2483Kind,
  meshtastic: meshtasticKind,
  'packet-forwarder': packetForwarderKind,
  'basics-station': basicsStationKind,
  ublox: ubloxKind,
  vaisala: vaisalaKind,
  davis: davisKind,
  rtl433: rtl433Kind,
  dht: dhtKind,
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof kinds
