import { expect } from 'vitest'
import type { createApi } from '#gateway/market/market.ts'

type Schema = { readonly [keyword: string]: unknown }
type Content = Readonly<Record<string, { readonly schema: Schema }>>
type Operation = {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>
}
export type ApiDocument = {
  readonly openapi: string
  readonly paths: Readonly<Record<string, { readonly get: Operation }>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

const annotations = new Set(['description', 'example', 'examples', 'default', 'title', 'contentEncoding'])

const dateTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/

const typeOf = (value: unknown): string => {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

const isType = (value: unknown, type: string): boolean =>
  typeOf(value) === type || (type === 'number' && typeof value === 'number')

/** What is wrong with a value, by the keywords of JSON Schema 2020-12 that the API uses; others are an error. */
export const schemaFaults = (api: ApiDocument, schema: Schema, value: unknown, at = '$'): string[] => {
  const faults: string[] = []
  const say = (what: string) => faults.push(`${at} ${what}: ${JSON.stringify(value)?.slice(0, 80)}`)
  const members = typeOf(value) === 'object' ? Object.entries(value as object) : []
  const properties = (schema.properties ?? {}) as Record<string, Schema>
  for (const [keyword, given] of Object.entries(schema)) {
    if (annotations.has(keyword)) continue
    switch (keyword) {
      case '$ref': {
        const name = String(given).replace('#/components/schemas/', '')
        const target = api.components.schemas[name]
        if (target === undefined) throw new Error(`${at} refers to ${given}, which is not there`)
        faults.push(...schemaFaults(api, target, value, at))
        break
      }
      case 'type':
        if (![given].flat().some((type) => isType(value, String(type)))) say(`is no ${given}`)
        break
      case 'properties':
        for (const [name, member] of members)
          if (properties[name] !== undefined)
            faults.push(...schemaFaults(api, properties[name], member, `${at}.${name}`))
        break
      case 'required':
        for (const name of given as string[])
          if (typeOf(value) === 'object' && !Object.hasOwn(value as object, name)) say(`lacks ${name}`)
        break
      case 'additionalProperties':
        for (const [name, member] of members) {
          if (Object.hasOwn(properties, name)) continue
          if (given === false) say(`has an undescribed member ${name}`)
          else faults.push(...schemaFaults(api, given as Schema, member, `${at}.${name}`))
        }
        break
      case 'propertyNames':
        for (const [name] of members)
          faults.push(...schemaFaults(api, given as Schema, name, `${at} name ${name}`))
        break
      case 'items':
        if (Array.isArray(value))
          value.forEach((item, place) => {
            faults.push(...schemaFaults(api, given as Schema, item, `${at}[${place}]`))
          })
        break
      case 'enum':
        if (!(given as unknown[]).includes(value)) say(`is none of ${JSON.stringify(given)}`)
        break
      case 'const':
        if (given !== value) say(`is not ${given}`)
        break
      case 'anyOf':
      case 'oneOf': {
        const tries = (given as Schema[]).map((one) => schemaFaults(api, one, value, at))
        if (!tries.some((one) => one.length === 0)) faults.push(...tries.flat())
        break
      }
      case 'allOf':
        for (const one of given as Schema[]) faults.push(...schemaFaults(api, one, value, at))
        break
      case 'pattern':
        if (typeof value === 'string' && !new RegExp(String(given)).test(value))
          say(`does not match ${given}`)
        break
      case 'minimum':
        if (typeof value === 'number' && value < Number(given)) say(`is below ${given}`)
        break
      case 'maximum':
        if (typeof value === 'number' && value > Number(given)) say(`is above ${given}`)
        break
      case 'minItems':
        if (Array.isArray(value) && value.length < Number(given)) say(`has fewer than ${given}`)
        break
      case 'maxItems':
        if (Array.isArray(value) && value.length > Number(given)) say(`has more than ${given}`)
        break
      case 'format':
        if (given === 'date-time' && typeof value === 'string' && !dateTime.test(value)) say('is no time')
        break
      default:
        throw new Error(`${at}: the checker of these tests does not know ${keyword}`)
    }
  }
  return faults
}

const operationOf = (api: ApiDocument, path: string): Operation | undefined => {
  const found = Object.keys(api.paths).find((pattern) =>
    new RegExp(`^${pattern.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`).test(path),
  )
  return found === undefined ? undefined : api.paths[found]!.get
}

type App = Pick<ReturnType<typeof createApi>, 'request'>

export type Answered = {
  readonly response: Response
  readonly text: string
  readonly bytes: Uint8Array
  readonly json: unknown
}

/** Asks the API and holds every answer against what /openapi.json says of it. */
export const openChecked = async (app: App) => {
  const document = (await (await app.request('/openapi.json')).json()) as ApiDocument
  const ask = async (address: string, init: RequestInit = {}): Promise<Answered> => {
    const response = await app.request(address, init)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const text = Buffer.from(bytes).toString('utf8')
    const type = response.headers.get('content-type')?.split(';')[0] ?? ''
    const json = text !== '' && /^application\/(.*\+)?json$/.test(type) ? JSON.parse(text) : undefined
    const operation = operationOf(document, new URL(address, 'http://hub').pathname)
    const status = response.status
    const bodied = (init.method ?? 'GET') === 'GET' && status !== 304
    if (operation !== undefined && bodied) {
      const described = operation.responses[`${status}`] ?? operation.responses.default
      expect(described, `${status} of ${address} is described`).toBeDefined()
      const content = described!.content?.[type]
      expect(content, `${type} with ${status} of ${address} is described`).toBeDefined()
      if (json !== undefined)
        expect(schemaFaults(document, content!.schema, json), `${status} of ${address}`).toEqual([])
    }
    if (status >= 400 && bodied && !address.startsWith('/healthz')) {
      expect(type, address).toBe('application/problem+json')
      expect(schemaFaults(document, { $ref: '#/components/schemas/Problem' }, json)).toEqual([])
      expect((json as { status: number }).status).toBe(status)
    }
    return { response, text, bytes, json }
  }
  return { document, ask }
}
