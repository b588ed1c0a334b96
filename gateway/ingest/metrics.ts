/** What ingest tells Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Ingest, IngestStatus } from './ingest.ts'

const counters = {
  received: ['groundtruth_messages_received_total', 'Messages from stations.'],
  kept: ['groundtruth_envelopes_kept_total', 'Envelopes kept as evidence.'],
  known: ['groundtruth_envelopes_known_total', 'Envelopes received again.'],
  refused: ['groundtruth_envelopes_refused_total', 'Messages refused.'],
  ahead: [
    'groundtruth_envelopes_ahead_total',
    'Envelopes kept whose readings lie further ahead of the hub than their clock header allows.',
  ],
  commits: ['groundtruth_evidence_commits_total', 'Group commits of evidence.'],
} as const satisfies Partial<Record<keyof IngestStatus, readonly [name: string, help: string]>>

/** Registers the ingest's counters. */
export const meterIngest = (metrics: Registry, ingest: Ingest): void => {
  for (const [key, [name, help]] of Object.entries(counters))
    new Counter({
      name,
      help,
      registers: [metrics],
      collect() {
        this.reset()
        this.inc(ingest.status[key as keyof typeof counters])
      },
    })
  new Gauge({
    name: 'groundtruth_ingest_waiting',
    help: 'Messages waiting to be decided on.',
    registers: [metrics],
    collect() {
      this.set(ingest.status.waiting)
    },
  })
}
