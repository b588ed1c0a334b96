/** Requests and answers of SensorThings, as /openapi.json describes them; OGC 18-088 says the rest. */
import { z } from '@hono/zod-openapi'
import { setNames } from './sta/model.ts'
import { defaultTop, maxTop } from './sta/options.ts'

export const serviceSchema = z
  .strictObject({
    value: z.array(z.strictObject({ name: z.enum(setNames as [string, ...string[]]), url: z.string() })),
    serverSettings: z.looseObject({ conformance: z.array(z.string()) }),
  })
  .openapi('SensorThingsService')

const entity = z
  .looseObject({ '@iot.id': z.string().optional(), '@iot.selfLink': z.string().optional() })
  .openapi('SensorThingsEntity', {
    description: 'An entity with its properties and X@iot.navigationLink, or one property of it by name',
  })

const collection = z
  .strictObject({
    '@iot.count': z.number().int().optional(),
    '@iot.nextLink': z.string().optional(),
    value: z.array(entity),
  })
  .openapi('SensorThingsCollection')

export const resourceSchema = z.union([collection, entity])

const text = (description: string, example?: string) =>
  z
    .string()
    .optional()
    .openapi({ description, ...(example === undefined ? {} : { example }) })

/** Query options, each with its $; inside $expand they stand in parentheses, with semicolons between them. */
export const optionsSchema = z.object({
  $filter: text(
    'Entities for which this holds: eq ne gt ge lt le, and or not, add sub mul div mod, functions of text, time and place; along links too, but from no other entity into Observations.',
    "phenomenonTime ge 2026-11-21T10:00:00Z and Datastream/ObservedProperty/id eq 'temperature'",
  ),
  $orderby: text('Properties with asc or desc; Observations by phenomenonTime.', 'phenomenonTime desc'),
  $top: text(`Most entities of one page: ${defaultTop} unless asked, ${maxTop} at most.`, '100'),
  $skip: text('Entities left out at the beginning; @iot.nextLink leads on more cheaply.', '0'),
  $count: text('true adds @iot.count.', 'true'),
  $select: text('Properties and links that are wanted.', 'id,phenomenonTime,result'),
  $expand: text(
    'Links whose entities stand in the answer, with options.',
    'Observations($orderby=phenomenonTime desc;$top=1)',
  ),
  $resultFormat: text('dataArray gives Observations as arrays.', 'dataArray'),
  $skiptoken: text('Where the page before ended, as @iot.nextLink has it.'),
})
