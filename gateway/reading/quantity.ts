/** What can be measured: one row per quantity, shared by drivers, envelopes, stores, answers and dashboards. */

/**
 * One quantity. `code` goes into signed bytes and is never reused or renumbered. A value is carried as an
 * integer in units of 10^-decimals `unit` (21.53 Cel with two decimals is 2153). `min` and `max` bound what
 * the physical world can plausibly show, in `unit`. `senml` is the unit's name in the SenML units registry
 * (RFC 8428 s12.1, secondary units RFC 8798); quantities marked `private` (position) are never sold.
 */
export type Quantity = {
  readonly code: number
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly senml: string
  readonly decimals: number
  readonly min: number
  readonly max: number
  readonly haDeviceClass: string | null
  readonly grafanaUnit: string
  readonly private?: true
}

type Row = readonly [
  code: number,
  name: string,
  title: string,
  unit: string,
  senml: string,
  decimals: number,
  min: number,
  max: number,
  haDeviceClass: string | null,
  grafanaUnit: string,
]

// Append only. Ranges: WMO-No. 8 extremes for weather, maker's ranges for particle and gas sensors.
const rows = [
  [1, 'temperature', 'Air temperature', '°C', 'Cel', 2, -90, 85, 'temperature', 'celsius'],
  [2, 'humidity', 'Relative humidity', '%', '%RH', 2, 0, 100, 'humidity', 'humidity'],
  [3, 'pressure', 'Air pressure', 'hPa', 'hPa', 2, 300, 1100, 'atmospheric_pressure', 'pressurehpa'],
  [4, 'pm1', 'PM1', 'µg/m³', 'ug/m3', 1, 0, 1000, 'pm1', 'conμgm3'],
  [5, 'pm2_5', 'PM2.5', 'µg/m³', 'ug/m3', 1, 0, 1000, 'pm25', 'conμgm3'],
  [6, 'pm4', 'PM4', 'µg/m³', 'ug/m3', 1, 0, 1000, null, 'conμgm3'],
  [7, 'pm10', 'PM10', 'µg/m³', 'ug/m3', 1, 0, 2000, 'pm10', 'conμgm3'],
  [8, 'n0_3', 'Particles above 0.3 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [9, 'n0_5', 'Particles above 0.5 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [10, 'n1', 'Particles above 1 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [11, 'n2_5', 'Particles above 2.5 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [12, 'n5', 'Particles above 5 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [13, 'n10', 'Particles above 10 µm', '1/0.1 L', '/', 0, 0, 65535, null, 'short'],
  [14, 'typical_size', 'Typical particle size', 'µm', 'um', 3, 0, 40, null, 'short'],
  [15, 'co2', 'Carbon dioxide', 'ppm', 'ppm', 0, 300, 10000, 'carbon_dioxide', 'ppm'],
  [16, 'voc_index', 'VOC index', '', '/', 0, 0, 500, 'aqi', 'short'],
  [17, 'gas_resistance', 'Gas resistance', 'Ω', 'Ohm', 0, 0, 200_000_000, null, 'ohm'],
  [18, 'noise', 'Sound level', 'dB(A)', 'dBA', 1, 20, 140, 'sound_pressure', 'dB'],
  [19, 'illuminance', 'Illuminance', 'lx', 'lx', 0, 0, 200_000, 'illuminance', 'lux'],
  [20, 'uv_index', 'UV index', '', '/', 1, 0, 20, null, 'short'],
  [21, 'solar_radiation', 'Solar radiation', 'W/m²', 'W/m2', 1, 0, 1800, 'irradiance', 'Wm2'],
  [22, 'wind_speed', 'Wind speed', 'm/s', 'm/s', 2, 0, 110, 'wind_speed', 'velocityms'],
  [23, 'wind_direction', 'Wind direction', '°', 'deg', 1, 0, 360, 'wind_direction', 'degree'],
  [24, 'wind_gust', 'Wind gust', 'm/s', 'm/s', 2, 0, 140, 'wind_speed', 'velocityms'],
  [25, 'rain', 'Rain since last reading', 'mm', 'mm', 2, 0, 200, 'precipitation', 'lengthmm'],
  [26, 'rain_rate', 'Rain rate', 'mm/h', 'mm/h', 2, 0, 2000, 'precipitation_intensity', 'short'],
  [27, 'soil_moisture', 'Soil moisture', '%', '%', 1, 0, 100, 'moisture', 'percent'],
  [28, 'soil_temperature', 'Soil temperature', '°C', 'Cel', 2, -60, 85, 'temperature', 'celsius'],
  [29, 'radiation', 'Radiation dose rate', 'µSv/h', 'uSv/h', 3, 0, 10_000, null, 'radusvh'],
  [30, 'count_rate', 'Radiation counts', '1/min', '1/min', 0, 0, 1_000_000, null, 'cpm'],
  [31, 'battery', 'Battery level', '%', '%EL', 1, 0, 100, 'battery', 'percent'],
  [32, 'battery_voltage', 'Battery voltage', 'V', 'V', 3, 0, 60, 'voltage', 'volt'],
  [33, 'rssi', 'Received signal strength', 'dBm', 'dBm', 1, -200, 50, 'signal_strength', 'dBm'],
  [34, 'snr', 'Signal-to-noise ratio', 'dB', 'dB', 1, -64, 100, null, 'dB'],
  [35, 'latitude', 'Latitude', '°', 'lat', 7, -90, 90, null, 'degree'],
  [36, 'longitude', 'Longitude', '°', 'lon', 7, -180, 180, null, 'degree'],
  [37, 'altitude', 'Altitude above mean sea level', 'm', 'm', 1, -500, 20_000, 'distance', 'lengthm'],
  [38, 'satellites', 'Satellites used', '', '/', 0, 0, 128, null, 'short'],
  [39, 'hdop', 'Horizontal dilution of precision', '', '/', 2, 0, 100, null, 'short'],
  [40, 'speed', 'Speed over ground', 'm/s', 'm/s', 2, 0, 600, 'speed', 'velocityms'],
  [41, 'dew_point', 'Dew point', '°C', 'Cel', 2, -100, 60, 'temperature', 'celsius'],
  [42, 'heat_index', 'Heat index', '°C', 'Cel', 2, -90, 100, 'temperature', 'celsius'],
  [43, 'nh3', 'Ammonia', 'ppm', 'ppm', 2, 0, 1000, null, 'ppm'],
  [44, 'no2', 'Nitrogen dioxide', 'µg/m³', 'ug/m3', 1, 0, 4000, 'nitrogen_dioxide', 'conμgm3'],
  [45, 'o3', 'Ozone', 'µg/m³', 'ug/m3', 1, 0, 2000, 'ozone', 'conμgm3'],
  [46, 'frequency', 'Radio frequency', 'MHz', 'MHz', 4, 30, 6000, 'frequency', 'MHz'],
  [47, 'spreading_factor', 'LoRa spreading factor', '', '/', 0, 5, 12, null, 'short'],
  [48, 'co2_equivalent', 'Carbon dioxide equivalent of VOCs', 'ppm', 'ppm', 0, 0, 60_000, null, 'ppm'],
  [49, 'formaldehyde', 'Formaldehyde', 'mg/m³', 'mg/m3', 3, 0, 10, null, 'short'],
  [50, 'noise_floor', 'Receiver noise level', '', '/', 0, 0, 65535, null, 'short'],
  [51, 'agc', 'Automatic gain control', '', '/', 0, 0, 65535, null, 'short'],
  [
    52,
    'jamming_state',
    'Jamming (0 unknown, 1 none, 2 warning, 3 critical)',
    '',
    '/',
    0,
    0,
    3,
    null,
    'short',
  ],
  [53, 'jamming_indicator', 'Continuous-wave jamming', '', '/', 0, 0, 255, null, 'short'],
  [
    54,
    'spoofing_state',
    'Spoofing (0 unknown, 1 none, 2 indicated, 3 affirmed)',
    '',
    '/',
    0,
    0,
    3,
    null,
    'short',
  ],
  [55, 'horizontal_accuracy', 'Horizontal accuracy estimate', 'm', 'm', 3, 0, 100_000, 'distance', 'lengthm'],
  [56, 'time_accuracy', 'Time accuracy estimate', 'ns', 'ns', 0, 0, 2_000_000_000, null, 'ns'],
  [57, 'indoor_temperature', 'Indoor temperature', '°C', 'Cel', 2, -40, 85, 'temperature', 'celsius'],
  [58, 'indoor_humidity', 'Indoor humidity', '%', '%RH', 2, 0, 100, 'humidity', 'humidity'],
  [59, 'rain_day', 'Rain today', 'mm', 'mm', 2, 0, 2000, 'precipitation', 'lengthmm'],
  [60, 'rain_total', 'Rain counted by the gauge', 'mm', 'mm', 2, 0, 20_000_000, 'precipitation', 'lengthmm'],
  [61, 'hail', 'Hail counted by the gauge', '1/cm²', '1/cm2', 1, 0, 100_000, null, 'short'],
  [62, 'iaq', 'Indoor air quality index', '', '/', 0, 0, 500, 'aqi', 'short'],
  [63, 'voltage', 'Voltage', 'V', 'V', 3, -1000, 1000, 'voltage', 'volt'],
  [64, 'current', 'Current', 'A', 'A', 3, -1000, 1000, 'current', 'amp'],
  [65, 'digital_input', 'Digital input', '', '/', 0, 0, 255, null, 'short'],
  [66, 'digital_output', 'Digital output', '', '/', 0, 0, 255, null, 'short'],
  [67, 'analog_input', 'Analogue input', '', '/', 2, -327.68, 327.67, null, 'short'],
  [68, 'analog_output', 'Analogue output', '', '/', 2, -327.68, 327.67, null, 'short'],
  [69, 'presence', 'Presence', '', '/', 0, 0, 255, null, 'short'],
  [70, 'acceleration_x', 'Acceleration x', 'g', 'g', 3, -33, 33, null, 'short'],
  [71, 'acceleration_y', 'Acceleration y', 'g', 'g', 3, -33, 33, null, 'short'],
  [72, 'acceleration_z', 'Acceleration z', 'g', 'g', 3, -33, 33, null, 'short'],
  [73, 'rotation_x', 'Rotation x', '°/s', 'deg/s', 2, -400, 400, null, 'short'],
  [74, 'rotation_y', 'Rotation y', '°/s', 'deg/s', 2, -400, 400, null, 'short'],
  [75, 'rotation_z', 'Rotation z', '°/s', 'deg/s', 2, -400, 400, null, 'short'],
  [76, 'ec', 'Electrical conductivity', 'µS/cm', 'uS/cm', 0, 0, 200_000, 'conductivity', 'short'],
  [77, 'ph', 'pH', '', '/', 2, 0, 14, 'ph', 'short'],
  [78, 'lightning_strikes', 'Lightning strikes counted', '', '/', 0, 0, 100_000_000, null, 'short'],
  [79, 'lightning_distance', 'Distance of the last lightning', 'km', 'km', 0, 0, 100, 'distance', 'lengthkm'],
  [80, 'nc0_5', 'Particles from 0.3 to 0.5 µm', '1/cm³', '1/cm3', 2, 0, 3000, null, 'short'],
  [81, 'nc1', 'Particles from 0.3 to 1 µm', '1/cm³', '1/cm3', 2, 0, 3000, null, 'short'],
  [82, 'nc2_5', 'Particles from 0.3 to 2.5 µm', '1/cm³', '1/cm3', 2, 0, 3000, null, 'short'],
  [83, 'nc4', 'Particles from 0.3 to 4 µm', '1/cm³', '1/cm3', 2, 0, 3000, null, 'short'],
  [84, 'nc10', 'Particles from 0.3 to 10 µm', '1/cm³', '1/cm3', 2, 0, 3000, null, 'short'],
] as const satisfies readonly Row[]

/** Name of a quantity, as it stands in configuration, queries and answers. */
export type QuantityName = (typeof rows)[number][1]

// Exact places are personal data; they travel signed and anchored, but never reach a store or a buyer.
const privateNames: ReadonlySet<string> = new Set(['latitude', 'longitude', 'altitude'])

/** Every quantity, in code order. */
export const quantities: readonly Quantity[] = rows.map(
  ([code, name, title, unit, senml, decimals, min, max, haDeviceClass, grafanaUnit]) =>
    Object.freeze({
      code,
      name,
      title,
      unit,
      senml,
      decimals,
      min,
      max,
      haDeviceClass,
      grafanaUnit,
      ...(privateNames.has(name) ? { private: true as const } : {}),
    }),
)

const byName = new Map(quantities.map((quantity) => [quantity.name, quantity]))
const byCode = new Map(quantities.map((quantity) => [quantity.code, quantity]))

/** The quantity of that name; for names known at compile time. */
export const quantity = (name: QuantityName): Quantity => byName.get(name)!

/** The quantity of that name, or undefined where a name came from outside. */
export const quantityNamed = (name: string): Quantity | undefined => byName.get(name)

/** The quantity with that code, or undefined where a code came from outside. */
export const quantityCoded = (code: number): Quantity | undefined => byCode.get(code)

const powers = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7] as const

/** Column values are 32-bit integers: wide enough for 1e-7 degrees, narrow enough for a small node. */
export const scaledMin = -0x8000_0000
export const scaledMax = 0x7fff_ffff

/**
 * A value in `unit` as the integer that is signed: round half away from zero to `decimals` places.
 * Answers undefined for NaN, infinities and what does not fit in 32 bits.
 */
export const toScaled = ({ decimals }: Quantity, value: number): number | undefined => {
  const magnitude = Math.abs(value) * powers[decimals as 0]!
  // The tiny factor undoes binary representation error, so that 1.005 with two decimals becomes 101.
  const rounded = Math.round(magnitude * (1 + Number.EPSILON))
  const scaled = value < 0 ? -rounded : rounded
  if (!(scaled >= scaledMin && scaled <= scaledMax)) return undefined
  return scaled === 0 ? 0 : scaled
}

/** The value in `unit` that a signed integer stands for; exact to the last decimal when printed. */
export const fromScaled = ({ decimals }: Quantity, scaled: number): number => scaled / powers[decimals as 0]!
