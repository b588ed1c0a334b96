/**
 * Holds every answer that tests get from the API against what its /openapi.json says: status, media type, headers, and
 * JSON by its schema. What does not fit fails the request, and, as a client may swallow that, the test.
 */
import { gunzipSync } from 'node:zlib'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { createApi, type MarketDeps } from '#gateway/market/market.ts'

type Described = {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>
  readonly headers?: Readonly<Record<string, { readonly schema: { readonly type?: string } }>>
}
type Operation = { readonly responses: Readonly<Record<string, Described>> }
type Document = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation | undefined>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

// What HTTP and browsers have for every answer, whatever it is about.
const generalHeaders =
  /^(access-control-.*|age|cache-control|connection|content-(encoding|length|security-policy|type)|cross-origin-.*|date|keep-alive|origin-agent-cluster|referrer-policy|transfer-encoding|vary|x-.*)$/

// Pages for people, and the description itself, which describes data.
const pages = /^\/(docs(\/[a-z.]+)?|openapi\.json)$/

const problemType = 'application/problem+json'

const isJson = (type: string): boolean => /^application\/(.*\+)?json$/.test(type)

const problem = { $ref: 'api#/$defs/Problem' }
const influxError = { $ref: 'api#/$defs/InfluxError' }

const openDescription = (text: string) => {
  // One schema for all, so that what refers to the same refers to it once.
  const document = JSON.parse(text.replaceAll('#/components/schemas/', 'api#/$defs/')) as Document
  const ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true, validateFormats: true })
  for (const annotation of ['example', 'discriminator']) ajv.addKeyword(annotation)
  ajv.addFormat('date-time', /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
  ajv.addFormat('binary', true)
  ajv.addSchema({ $id: 'api', $defs: document.components.schemas })
  const validators = new Map<object, ValidateFunction>()
  const part = /\{[^}]+\}/g
  const paths = Object.keys(document.paths).map((path) => {
    const source = path.replaceAll('.', '\\.').replaceAll(part, '[^/]+')
    return {
      path,
      whole: new RegExp(`^${source}$`),
      // SensorThings goes on for as long as there are links.
      deeper: new RegExp(`^${source.replace(/\[\^\/\]\+$/, '.+')}$`),
      letters: path.replaceAll(part, '').length,
    }
  })
  return {
    document,
    /** The path of an address as it is described: of several that fit, the one with most letters of its own. */
    pathOf: (pathname: string): string | undefined => {
      const fitting = paths.filter(({ whole }) => whole.test(pathname))
      const all = fitting.length > 0 ? fitting : paths.filter(({ deeper }) => deeper.test(pathname))
      return all.sort((a, b) => b.letters - a.letters)[0]?.path
    },
    /** What is wrong with a value by a schema of the document. */
    faultsOf: (schema: object, value: unknown): string[] => {
      const validate = validators.get(schema) ?? ajv.compile(schema)
      validators.set(schema, validate)
      return validate(value) === true
        ? []
        : (validate.errors ?? []).map(
            ({ instancePath, message, params }) => `$${instancePath} ${message} ${JSON.stringify(params)}`,
          )
    },
  }
}

type Description = ReturnType<typeof openDescription>

const descriptions = new Map<string, Description>()

const described = (text: string): Description => {
  const known = descriptions.get(text) ?? openDescription(text)
  descriptions.set(text, known)
  return known
}

const found: string[] = []

/** What did not fit since this was asked last. */
export const takeFaults = (): string[] => found.splice(0)

const fail = (faults: readonly string[], what: string): void => {
  if (faults.length === 0) return
  const text = `${what} is not as /openapi.json says:\n${faults.slice(0, 10).join('\n')}`
  found.push(text)
  throw new Error(text)
}

/** The same bytes; told of whole ones at their end. */
const watched = (
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  whole: (bytes: Buffer) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const reader = body.getReader()
  const chunks: Uint8Array[] = []
  return new ReadableStream(
    {
      pull: async (controller) => {
        const { done, value } = await reader.read()
        if (!done) {
          chunks.push(value)
          controller.enqueue(value)
          return
        }
        whole(Buffer.concat(chunks))
        controller.close()
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

type Found = { readonly faults: readonly string[]; readonly schema?: object }

/** What is wrong with the head of an answer, and by which schema its body goes. */
const look = (
  description: Description,
  method: string,
  path: string,
  { status, headers }: Response,
): Found => {
  const type = headers.get('content-type')?.split(';')[0] ?? ''
  const asked = method === 'HEAD' ? 'get' : method.toLowerCase()
  const responses = description.document.paths[description.pathOf(path) ?? '']?.[asked]?.responses
  if (responses === undefined)
    return status >= 400 && (type === problemType || path.startsWith('/influx/'))
      ? { faults: [], schema: type === problemType ? problem : influxError }
      : { faults: ['there is no such path and method'] }
  const described = responses[status] ?? responses[`${Math.floor(status / 100)}XX`]
  const response = described ?? (status >= 400 ? responses.default : undefined)
  if (response === undefined) return { faults: ['the status is not described'] }
  const faults: string[] = []
  const headersDescribed = new Map(
    Object.entries(response.headers ?? {}).map(([name, { schema }]) => [name.toLowerCase(), schema]),
  )
  for (const [name, text] of headers) {
    if (generalHeaders.test(name)) continue
    const schema = headersDescribed.get(name)
    if (schema === undefined) faults.push(`the header ${name} is not described`)
    else {
      const value = /^(integer|number)$/.test(schema.type ?? '') ? Number(text) : text
      faults.push(...description.faultsOf(schema, value).map((fault) => `${name}: ${fault}`))
    }
  }
  if (type === '' && (method === 'HEAD' || response.content === undefined)) return { faults }
  const content = response.content?.[type]
  if (content === undefined) faults.push(`the media type "${type}" is not described`)
  return { faults, ...(content === undefined ? {} : { schema: content.schema }) }
}

/** Checks the head of an answer at once, and its JSON when it has been read: what is returned must be read instead. */
const check = (description: Description, method: string, url: string, response: Response): Response => {
  const pathname = new URL(url).pathname.replace(/(?<=.)\/$/, '')
  const { status, headers } = response
  if (method === 'OPTIONS' || (pages.test(pathname) && status < 400)) return response
  const what = `${status} of ${method} ${pathname}`
  const { faults, schema } = look(description, method, pathname, response)
  fail(faults, what)
  const type = headers.get('content-type')?.split(';')[0] ?? ''
  const isWhole = method !== 'HEAD' && status !== 206
  if (!isWhole || response.body === null || schema === undefined || !isJson(type)) return response
  const body = watched(response.body as ReadableStream<Uint8Array<ArrayBuffer>>, (bytes) => {
    const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b
    const value: unknown = JSON.parse((isPacked ? gunzipSync(bytes) : bytes).toString('utf8'))
    const wrong = description.faultsOf(schema, value)
    if (type === problemType && (value as { status: number }).status !== status)
      wrong.push('the problem names another status')
    fail(wrong, what)
  })
  return new Response(body, response)
}

/** The API, all of whose answers are checked. */
export const openApi = (deps: MarketDeps): ReturnType<typeof createApi> => {
  const api = createApi(deps)
  checkAnswers(api)
  return api
}

/** From now on all answers of an application in this process are checked, whoever asks it. */
export const checkAnswers = (app: { fetch: (...given: never[]) => Response | Promise<Response> }): void => {
  const answer = app.fetch as (request: Request, ...given: unknown[]) => Response | Promise<Response>
  let description: Promise<Description> | undefined
  const read = async () => described(await (await answer(new Request('http://hub/openapi.json'))).text())
  app.fetch = async (request: Request, ...given: unknown[]) => {
    description ??= read()
    return check(await description, request.method, request.url, await answer(request, ...given))
  }
}

/** A fetch that checks all answers of the hub at that address, which is another program. */
export const checkedFetch = (origin: string, fetch: typeof globalThis.fetch): typeof globalThis.fetch => {
  let description: Promise<Description> | undefined
  const read = async () => described(await (await fetch(`${origin}/openapi.json`)).text())
  return async (input, init) => {
    const response = await fetch(input, init)
    const [url, method] =
      input instanceof Request ? [input.url, input.method] : [`${input}`, init?.method ?? 'GET']
    if (new URL(url).origin !== origin) return response
    description ??= read()
    return check(await description, method, url, response)
  }
}
