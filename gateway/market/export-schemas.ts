/** Exports as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'
import { formatNames } from './formats/all.ts'

const time = z.iso.datetime({ precision: 3 }).openapi({ description: 'RFC 3339, UTC, milliseconds' })
const count = z.number().int().min(0)
const id = z.string().regex(/^[0-9a-f]{32}$/)

export const exportSchema = z
  .strictObject({
    id,
    state: z.enum(['queued', 'working', 'done', 'failed', 'expired']).openapi({
      description:
        'queued, working; then done, or failed: nothing was charged. expired: done and not kept any more',
    }),
    detail: z.string().optional().openapi({ description: 'Why it failed' }),
    format: z.enum(formatNames as unknown as [string, ...string[]]),
    from: time,
    to: time,
    created: time,
    rows: count.openapi({ description: 'Rows in the file, or written so far' }),
    percent: count.max(100).openapi({ description: 'How much of the span is written' }),
    mostMicroUsd: count.openapi({ description: 'What is held for it: more is not asked' }),
    priceMicroUsd: count
      .nullable()
      .openapi({ description: 'What was charged for what is in the file; null until it is done' }),
    receipt: id.nullable().openapi({ description: 'The sale that paid for it; null where nothing was' }),
    expires: time.nullable().openapi({ description: 'Until when the file is kept; null until it is done' }),
    files: z.array(
      z
        .strictObject({
          name: z.string(),
          href: z.string(),
          mediaType: z.string(),
          bytes: count,
          sha256: z.string().regex(/^[0-9a-f]{64}$/),
          rows: count,
        })
        .openapi('ExportFile'),
    ),
    croissant: z.string().optional().openapi({ description: 'What it is, for programs that load data sets' }),
    dcat: z.string().optional().openapi({ description: 'What it is, for catalogues' }),
  })
  .openapi('Export')

export const exportsSchema = z.strictObject({ exports: z.array(exportSchema) }).openapi('Exports')
