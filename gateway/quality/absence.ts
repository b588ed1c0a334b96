/** A value the device could not give: nothing to believe, and the reason is passed on. */
import type { Absence } from '../reading/reading.ts'
import type { ValueRule, Verdict } from './quality.ts'

const verdicts: Readonly<Record<Absence, Verdict>> = {
  unspecified: { code: 'NO_VALUE', factor: 0 },
  'warming-up': { code: 'WARMING_UP', factor: 0 },
  'out-of-range': { code: 'OUT_OF_RANGE', factor: 0 },
  'device-error': { code: 'DEVICE_ERROR', factor: 0 },
  'no-data': { code: 'NO_VALUE', factor: 0 },
  'not-a-number': { code: 'NO_VALUE', factor: 0 },
}

export const absence: ValueRule = {
  kind: 'value',
  name: 'absence',
  title: 'The device gave no value',
  source:
    "the reasons of reading/reading.ts; WeatherXM Table 10 counts a missing datum as faulty ('NO_DATA')",
  version: '2026.1',
  codes: [...new Set(Object.values(verdicts).map(({ code }) => code))],
  judge: ({ value }) => (value.scaled === null ? verdicts[value.absent] : undefined),
}
