/** The service root (OGC 18-088 s9.2.1): what there is, and which requirements are met. */
import { setNames } from './model.ts'
import { defaultTop, maxTop } from './options.ts'

/** Where the service is, behind the hub's address. */
export const serviceRoot = '/sta/v1.1'

const requirement = 'http://www.opengis.net/spec/iot_sensing/1.1/req'

/**
 * Requirements that are met whole. Not among them: request-data/orderby (Observations are ordered by time alone),
 * request-data/built-in-query-functions (some are answered with 501), and all that writes.
 */
export const conformance: readonly string[] = [
  'datamodel',
  'resource-path/resource-path-to-entities',
  'request-data/order',
  'request-data/expand',
  'request-data/select',
  'request-data/status-code',
  'request-data/query-status-code',
  'request-data/top',
  'request-data/skip',
  'request-data/count',
  'request-data/filter',
  'request-data/built-in-filter-operations',
  'request-data/pagination',
].map((name) => `${requirement}/${name}`)

/** The document at the root; `root` is its address. */
export const serviceDocument = (root: string) => ({
  value: setNames.map((name) => ({ name, url: `${root}/${name}` })),
  serverSettings: {
    conformance,
    [`${requirement}/request-data/top`]: { default: defaultTop, maximum: maxTop },
  },
})
