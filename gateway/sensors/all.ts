/** Every device this gateway understands: adding one is its file and one line here. */
import { davisVantage } from './davis-vantage.ts'
import { ebyteE22 } from './ebyte-e22.ts'
import { gqGmc } from './gq-gmc.ts'
import { gyMcu680 } from './gy-mcu680.ts'
import { honeywellHpma115 } from './honeywell-hpma115.ts'
import { loraE5 } from './lora-e5.ts'
import { lorawanBasicsStation } from './lorawan-basics-station.ts'
import { lorawanGwmp } from './lorawan-gwmp.ts'
import { meshtastic } from './meshtastic.ts'
import { modbusRtu } from './modbus-rtu.ts'
import { nmea } from './nmea.ts'
import { novaSds011 } from './nova-sds011.ts'
import { plantowerPms } from './plantower-pms.ts'
import { rak811 } from './rak811.ts'
import { rak3172 } from './rak3172.ts'
import { reyaxRylr } from './reyax-rylr.ts'
import { rn2483 } from './rn2483.ts'
import { rtl433 } from './rtl-433.ts'
import { senseairS8 } from './senseair-s8.ts'
import { sensirionSps30 } from './sensirion-sps30.ts'
import type { Driver } from './sensors.ts'
import { textLines } from './text-lines.ts'
import { ubx } from './ubx.ts'
import { vaisalaWxt } from './vaisala-wxt.ts'
import { winsenMhz19 } from './winsen-mhz19.ts'

export const drivers = [
  plantowerPms,
  novaSds011,
  sensirionSps30,
  honeywellHpma115,
  winsenMhz19,
  senseairS8,
  modbusRtu,
  gqGmc,
  gyMcu680,
  textLines,
  nmea,
  ubx,
  vaisalaWxt,
  davisVantage,
  rtl433,
  reyaxRylr,
  ebyteE22,
  rak3172,
  rak811,
  loraE5,
  rn2483,
  meshtastic,
  lorawanGwmp,
  lorawanBasicsStation,
] as const satisfies readonly Driver[]

/** The driver of that model; throws an Error listing the models there are. */
export const driverOf = (model: string): Driver => {
  const driver = drivers.find((candidate) => candidate.model === model)
  if (!driver) {
    const models = drivers.map((candidate) => candidate.model).join(', ')
    throw new Error(`there is no sensor model "${model.slice(0, 64)}".\nUse one of ${models}.`)
  }
  return driver
}
