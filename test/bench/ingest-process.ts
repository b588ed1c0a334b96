/** Broker, ingest and evidence as the hub wires them, and nothing behind them. */
import { join } from 'node:path'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { openEmbeddedBroker } from '#gateway/ingest/aedes.ts'
import type { Broker } from '#gateway/ingest/broker.ts'
import { createIngest, type Ingest } from '#gateway/ingest/ingest.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { topicsOf } from '#gateway/reading/topics.ts'
import { answerQuestions, cpuUs } from './processes.ts'
import { network, newSigner } from './samples.ts'

const evidenceSegmentBytes = 16 * 1024 * 1024

let ingest: Ingest

const start = async (directory: string): Promise<{ mqtt: string; hubKey: string }> => {
  const evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path, segmentBytes: evidenceSegmentBytes }),
  })
  const hub = newSigner()
  let broker: Broker | undefined
  ingest = createIngest({
    network,
    hub,
    evidence,
    now: Date.now,
    failed: (error) => {
      throw error
    },
    sendReceipt: (station, receipt) => broker?.publish(topicsOf(network, station).receipt, receipt),
  })
  const embedded = await openEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    network,
    events: {
      envelope: ingest.offer,
      hello: (_station, publicKey) => ingest.register(publicKey, Date.now()),
      listening: ingest.remind,
    },
    now: Date.now,
    anonymousReaders: false,
  })
  broker = embedded
  return { mqtt: `mqtt://127.0.0.1:${embedded.port}`, hubKey: toHex(hub.publicKey) }
}

answerQuestions({ start, cpu: cpuUs, status: () => ingest.status })
