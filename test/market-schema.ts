import type { createApi } from '#gateway/market/market.ts'

/** What tests look at in /openapi.json. */
export type ApiDocument = {
  readonly openapi: string
  readonly paths: Readonly<
    Record<
      string,
      { readonly get: { readonly parameters?: readonly { readonly name: string; readonly in: string }[] } }
    >
  >
}

type App = Pick<ReturnType<typeof createApi>, 'request'>

export type Answered = {
  readonly response: Response
  readonly text: string
  readonly bytes: Uint8Array
  readonly json: unknown
}

/** The description of an API, and what asks it and reads the whole answer. */
export const openChecked = async (app: App) => {
  const document = (await (await app.request('/openapi.json')).json()) as ApiDocument
  const ask = async (address: string, init: RequestInit = {}): Promise<Answered> => {
    const response = await app.request(address, init)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const text = Buffer.from(bytes).toString('utf8')
    const type = response.headers.get('content-type')?.split(';')[0] ?? ''
    const json = text !== '' && /^application\/(.*\+)?json$/.test(type) ? JSON.parse(text) : undefined
    return { response, text, bytes, json }
  }
  return { document, ask }
}
