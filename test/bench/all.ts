import { edge } from './edge.ts'
import { encoding } from './encode.ts'
import { ingest } from './ingest.ts'
import { journal } from './journal.ts'
import { linking } from './link.ts'
import type { Measurement } from './measurement.ts'
import { memory } from './memory.ts'
import { nodeRed } from './node-red.ts'
import { proving } from './proof.ts'
import { selling } from './sales.ts'
import { signing } from './sign.ts'
import { size } from './size.ts'
import { store } from './store.ts'
import { verifying } from './verify.ts'
import { wear } from './wear.ts'
import { weekAway } from './week.ts'

/** Every measurement, in the order of the table: adding one is a file here and a line in this list. */
export const all: readonly Measurement[] = [
  signing,
  verifying,
  proving,
  encoding,
  size,
  journal,
  ingest,
  store,
  selling,
  linking,
  edge,
  memory,
  weekAway,
  nodeRed,
  wear,
]
