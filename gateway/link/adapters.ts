/** What a USB serial adapter is, by its vendor and product id. */

/** `what` the chip or device is; `models` are drivers that such a device is likely read with, likeliest first. */
export type Adapter = { readonly what: string; readonly models: readonly string[] }

// From the public USB id list and the makers' driver packages. A bare bridge chip says nothing about what hangs on
// it: its models are only where to look first.
const particleBridges = ['nova-sds011', 'plantower-pms']
const boards = ['text-lines']
const adapters: Readonly<Record<string, Adapter>> = {
  '0403:6001': { what: 'FTDI FT232R', models: ['text-lines', 'plantower-pms'] },
  '0403:6010': { what: 'FTDI FT2232 (two ports)', models: [] },
  '0403:6011': { what: 'FTDI FT4232 (four ports)', models: [] },
  '0403:6014': { what: 'FTDI FT232H', models: [] },
  '0403:6015': { what: 'FTDI FT230X', models: ['text-lines'] },
  '067b:2303': { what: 'Prolific PL2303', models: particleBridges },
  '067b:23a3': { what: 'Prolific PL2303GC', models: particleBridges },
  '10c4:ea60': { what: 'Silicon Labs CP2102', models: ['plantower-pms', 'reyax-rylr', 'text-lines'] },
  '10c4:ea70': { what: 'Silicon Labs CP2105 (two ports)', models: [] },
  '1546:01a6': { what: 'u-blox 6 GNSS receiver', models: ['nmea'] },
  '1546:01a7': { what: 'u-blox 7 GNSS receiver', models: ['nmea'] },
  '1546:01a8': { what: 'u-blox 8 or M8 GNSS receiver', models: ['nmea'] },
  '1546:01a9': { what: 'u-blox 9 GNSS receiver', models: ['nmea'] },
  '1a86:5523': { what: 'WCH CH341', models: particleBridges },
  '1a86:7523': { what: 'WCH CH340', models: [...particleBridges, 'text-lines'] },
  '1a86:55d3': { what: 'WCH CH343', models: boards },
  '1a86:55d4': { what: 'WCH CH9102', models: boards },
  '2341:0042': { what: 'Arduino Mega 2560', models: boards },
  '2341:0043': { what: 'Arduino Uno', models: boards },
  '2341:8036': { what: 'Arduino Leonardo', models: boards },
  '239a:800b': { what: 'Adafruit Feather M0', models: boards },
  '2e8a:0005': { what: 'Raspberry Pi Pico with MicroPython', models: boards },
  '2e8a:000a': { what: 'Raspberry Pi Pico', models: boards },
  '303a:1001': { what: 'Espressif ESP32 with USB inside', models: boards },
  '0483:5740': { what: 'STMicroelectronics virtual port', models: ['text-lines', 'nmea'] },
}

/** The adapter with those ids, four lower-case hex digits each; undefined where it is not in the table. */
export const adapterOf = (vendor: string | undefined, product: string | undefined): Adapter | undefined =>
  adapters[`${vendor}:${product}`]
