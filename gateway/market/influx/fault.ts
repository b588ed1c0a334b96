/** Problems as clients of InfluxDB show them: one text in `error`, with everything that a problem says beside it. */
import { type Fault, problemBody, problems } from '../problem.ts'

// What was asked for as it is; everything else with its next step.
const plain = new Set(['query-not-answered', 'unsupported-media-type'])

/** The text of a problem; `credit` says where credit comes from. */
const errorText = (fault: Fault, credit: string): string => {
  const { slug, detail } = fault
  if (plain.has(slug)) return detail
  const { status, title, help } = problems[slug]
  if (status === 401)
    return `authorization failed: ${detail}. The key (POST /v1/keys) is the password; any user will do.`
  if (status === 402)
    return `${title}: ${detail}. The key (POST /v1/keys) is the password; any user will do. ${credit}`
  if (status === 414) return `${title}: ${detail}. Send it by POST: Grafana has a setting, HTTP method.`
  return `${title}: ${detail}. ${help}`
}

/** The answer of a request to /influx/ that failed. `version` is that of the answer's header. */
export const influxProblem = (fault: Fault, version: string, credit: string): Response =>
  new Response(`${JSON.stringify({ error: errorText(fault, credit), ...problemBody(fault) })}\n`, {
    status: problems[fault.slug].status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-influxdb-version': version,
      ...(fault.retryAfterS === undefined ? {} : { 'retry-after': `${fault.retryAfterS}` }),
      ...fault.headers,
      ...(fault.slug === 'key-invalid' ? { 'www-authenticate': 'Basic realm="groundtruth"' } : {}),
    },
  })
