/** Units by the sign that quantities have for them: the name for people, and the code in UCUM (ucum.org) where it has one. */

const units: Readonly<Record<string, readonly [name: string, ucum: string | null]>> = {
  '': ['no unit', '1'],
  '°C': ['degree Celsius', 'Cel'],
  '%': ['percent', '%'],
  hPa: ['hectopascal', 'hPa'],
  'µg/m³': ['microgram per cubic metre', 'ug/m3'],
  'mg/m³': ['milligram per cubic metre', 'mg/m3'],
  '1/0.1 L': ['number in a tenth of a litre', '/dL'],
  '1/cm³': ['number in a cubic centimetre', '/cm3'],
  '1/cm²': ['number on a square centimetre', '/cm2'],
  '1/min': ['number in a minute', '/min'],
  µm: ['micrometre', 'um'],
  ppm: ['parts per million', '[ppm]'],
  Ω: ['ohm', 'Ohm'],
  'dB(A)': ['decibel, weighted by A', null],
  dBm: ['decibel of a milliwatt', null],
  dB: ['decibel', 'dB'],
  lx: ['lux', 'lx'],
  'W/m²': ['watt per square metre', 'W/m2'],
  'm/s': ['metre per second', 'm/s'],
  '°': ['degree', 'deg'],
  '°/s': ['degree per second', 'deg/s'],
  m: ['metre', 'm'],
  km: ['kilometre', 'km'],
  mm: ['millimetre', 'mm'],
  'mm/h': ['millimetre per hour', 'mm/h'],
  'µSv/h': ['microsievert per hour', 'uSv/h'],
  V: ['volt', 'V'],
  A: ['ampere', 'A'],
  MHz: ['megahertz', 'MHz'],
  ns: ['nanosecond', 'ns'],
  g: ['standard acceleration of free fall', '[g]'],
  'µS/cm': ['microsiemens per centimetre', 'uS/cm'],
}

/** unitOfMeasurement of a Datastream (OGC 18-088 s8.2.4). Throws for a sign that the table lacks. */
export const unitOfMeasurement = (sign: string) => {
  const unit = units[sign]
  if (unit === undefined) throw new Error(`unit "${sign}" has no row in the table of units`)
  const [name, ucum] = unit
  return { name, symbol: sign, definition: ucum === null ? null : `ucum:${ucum}` }
}
