/** What can be set of a station: names, forms, defaults, and what each is for. */
import { z } from 'zod'
import { cellResolutions, isLicence, isStationName, maxPricePermille } from './reading/profile.ts'
import { hexKey, host, id, port } from './setting-forms.ts'

const sensor = z.strictObject({
  id: id.describe('Name of the sensor, unique on this station.'),
  model: id.describe('Driver: `groundtruth sensors` lists them.'),
  link: z
    .string()
    .min(1)
    .max(300)
    .describe('Serial port (better /dev/serial/by-id/... or usb:VID:PID) or tcp://host:port.'),
  enabled: z.boolean().default(true).describe('Whether it is read; false leaves it alone.'),
  baudRate: z
    .int()
    .min(300)
    .max(4_000_000)
    .optional()
    .describe('Bits per second; the driver knows the usual one.'),
  settings: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('What the driver wants to know, by driver.'),
})

/** Sensors that cannot be told apart, or that want the same wire; those that are not read do no harm. */
const ownIdsAndLinks = (
  sensors: readonly z.output<typeof sensor>[],
  context: z.core.$RefinementCtx<readonly z.output<typeof sensor>[]>,
): void => {
  for (const key of ['id', 'link'] as const) {
    const first = new Map<string, number>()
    for (const [at, one] of sensors.entries()) {
      if (!one.enabled) continue
      const before = first.get(one[key])
      if (before === undefined) first.set(one[key], at)
      else
        context.addIssue({
          code: 'custom',
          path: [at, key],
          message: key === 'id' ? 'an id that no other sensor has' : 'a link that no other sensor uses',
          params: { got: `${JSON.stringify(one[key])} as edge.sensors.${before}.${key}` },
          input: one[key],
        })
    }
  }
}

/** Settings of a station. */
export const edge = z.strictObject({
  key: z.string().optional().describe('Station key: file:/path or credential:name. Created on first use.'),
  broker: z
    .strictObject({
      url: z
        .string()
        .default('mqtt://127.0.0.1:1883')
        .describe('mqtt://, mqtts://, ws:// or wss:// of the broker.'),
      caFile: z.string().optional().describe('PEM of a private certificate authority.'),
      retryS: z
        .number()
        .min(0.1)
        .max(3600)
        .default(30)
        .describe('Longest pause between attempts to connect, in seconds.'),
      username: z.string().optional().describe('For brokers with a password file; default: the station id.'),
      passwordFile: z
        .string()
        .optional()
        .describe('File with that password; default: a token signed by the key.'),
    })
    .prefault({}),
  profile: z
    .strictObject({
      licence: z
        .string()
        .refine(isLicence, 'an SPDX identifier such as CC-BY-4.0, or LicenseRef-...')
        .optional()
        .describe(
          'Licence of the data: an SPDX identifier such as CC-BY-4.0. With it the station says the rest.',
        ),
      name: z
        .string()
        .refine(isStationName, '1 to 64 letters, digits and spaces')
        .optional()
        .describe('Name of the station for people.'),
      priceFactor: z
        .number()
        .min(0)
        .max(maxPricePermille / 1000)
        .default(1)
        .describe('What is asked, as a multiple of the hub’s price.'),
      latitude: z.number().min(-90).max(90).optional().describe('Degrees; stays on the station.'),
      longitude: z.number().min(-180).max(180).optional().describe('Degrees; stays on the station.'),
      resolution: z
        .int()
        .min(cellResolutions.coarsest)
        .max(cellResolutions.finest)
        .default(7)
        .describe('H3 resolution at which the place is published: 5 (some 250 km2) to 9 (0.1 km2).'),
    })
    .refine(({ latitude, longitude }) => (latitude === undefined) === (longitude === undefined), {
      message: 'both latitude and longitude, or neither',
    })
    .refine(({ licence, name, latitude }) => licence !== undefined || (name ?? latitude) === undefined, {
      path: ['licence'],
      message: 'the licence that the data comes with',
    })
    .prefault({}),
  hubKey: hexKey
    .optional()
    .describe('Public key of the hub. Without it the first one heard is trusted and kept.'),
  envelope: z
    .strictObject({
      maxReadings: z.int().min(1).max(1000).default(50).describe('Readings signed together, at most.'),
      maxAgeS: z
        .number()
        .min(0.1)
        .max(3600)
        .default(5)
        .describe('Seconds a reading waits to be signed, at most.'),
    })
    .prefault({}),
  outbox: z
    .strictObject({
      maxInFlight: z
        .int()
        .min(1)
        .max(1000)
        .default(64)
        .describe('Envelopes sent without a receipt, at most.'),
      receiptTimeoutS: z.number().min(1).max(600).default(20).describe('Seconds until one is sent again.'),
      cursorS: z
        .number()
        .min(0)
        .max(3600)
        .default(300)
        .describe(
          'Seconds between notes on disk of how far receipts reach; what came since is sent again after a crash.',
        ),
      backlogPerS: z
        .number()
        .min(0.1)
        .max(10_000)
        .default(50)
        .describe('Envelopes a second after an outage.'),
      maxMiB: z
        .int()
        .min(16)
        .max(1_048_576)
        .default(96)
        .describe(
          'Disk for envelopes that wait for a receipt, at most, in MiB; 7 days at one reading a second take 36.',
        ),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      host: host.default('127.0.0.1').describe('Address of health checks and metrics.'),
      port: port.optional().describe('Their port; without it nothing listens. 0 picks a free one.'),
    })
    .prefault({}),
  sensors: z
    .array(sensor)
    .max(256)
    .superRefine(ownIdsAndLinks)
    .default([])
    .describe('What hangs on this station.'),
})
