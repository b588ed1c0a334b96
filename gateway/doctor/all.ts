/** Every check, in the order a reading travels: adding one is its file and one line here. */
import { broker } from './broker.ts'
import { clock } from './clock.ts'
import { configuration } from './configuration.ts'
import { disk } from './disk.ts'
import type { Check } from './doctor.ts'
import { key } from './key.ts'
import { lock } from './lock.ts'
import { ports } from './ports.ts'
import { sensors } from './sensors.ts'
import { service } from './service.ts'

export const checks: readonly Check[] = [
  configuration,
  ports,
  sensors,
  clock,
  key,
  disk,
  lock,
  broker,
  service,
]
