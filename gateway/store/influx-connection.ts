/** Talking to one InfluxDB 1.x server: questions through `influx`, writes as one acknowledged request each. */
import { InfluxDB, type IPoolOptions } from 'influx'
import { type Series, schema } from './influx-line.ts'
import { StoreUnavailable } from './store.ts'

export type InfluxConnectionOptions = {
  /** `http://host:8086` or https; without credentials. */
  readonly url: string
  /** Database name: letters, digits, `_` and `-`. Made where it is missing and the user may. */
  readonly database: string
  readonly username?: string
  readonly password?: string
}

/** Bind parameters: `$name` in the question. Nothing from outside gets into a question in another way. */
export type Placeholders = Readonly<Record<string, string | number>>

/** `refused`: the server will never take these lines as they are; part of them may be written. */
export type WriteOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly detail: string; readonly dropped?: number }

export type InfluxConnection = {
  readonly version: string
  /** One list of series for each statement. */
  ask(statements: readonly string[], placeholders: Placeholders): Promise<Series[][]>
  post(lines: Uint8Array, retentionPolicy?: string): Promise<WriteOutcome>
  createDatabase(): Promise<void>
  /** Drops and makes the database again, with the retention policies it had. */
  emptyDatabase(): Promise<void>
}

/** The cursor has its own policy, so that an operator's retention of readings never takes it away. */
export const cursorPolicy = 'cursor'

const pingTimeoutMs = 5_000
const writeTimeoutMs = 30_000
const queryTimeoutMs = 60_000

// With one host, influx answers "No host available" at once for up to ten seconds after a failure, even when the server is
// back. No pause, no retry: the caller has a backoff of its own.
const noPause: NonNullable<IPoolOptions['backoff']> = {
  getDelay: () => 0,
  next: () => noPause,
  reset: () => noPause,
}

const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? `: ${reasonOf(error.cause)}` : ''
  return `${error.message || error.name}${cause}`.slice(0, 500)
}

const parseUrl = (url: string): URL => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password)
    throw new Error(
      'the InfluxDB address must look like http://host:8086, with user name and password as settings of their own.',
    )
  return parsed
}

const readVersion = async (address: URL, headers: Record<string, string>): Promise<string> => {
  const response = await fetch(new URL('ping', address), {
    headers,
    redirect: 'error',
    signal: AbortSignal.timeout(pingTimeoutMs),
  }).catch((error: unknown) => {
    throw new StoreUnavailable(
      `InfluxDB at ${address.origin} does not answer (${reasonOf(error)}). Start it, or correct store.url.`,
    )
  })
  await response.body?.cancel()
  const version = response.headers.get('x-influxdb-version')
  // VictoriaMetrics takes the same writes, but answers every InfluxQL question with 200 and nothing of ours.
  if (version === null)
    throw new Error(
      `the server at ${address.origin} is no InfluxDB: its /ping has no X-Influxdb-Version. ` +
        'Readings could be written but not be read back; use InfluxDB 1.x or the embedded store.',
    )
  if (!/^v?1\./.test(version))
    throw new Error(
      `InfluxDB at ${address.origin} is version ${version.slice(0, 40)}; this store speaks to 1.x (1.6 to 1.12). ` +
        'Use such a server, or the embedded store.',
    )
  return version.slice(0, 40)
}

type Answer = { results?: { series?: Series[]; error?: string; partial?: boolean }[]; error?: string }

/** Finds out what answers at the address; throws StoreUnavailable when nothing does, and an Error when it is not 1.x. */
export const openInfluxConnection = async (options: InfluxConnectionOptions): Promise<InfluxConnection> => {
  const { url, database, username, password = '' } = options
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(database))
    throw new Error('the InfluxDB database must be named by up to 64 letters, digits, "_" and "-".')
  const parsed = parseUrl(url)
  const address = new URL(parsed.pathname.endsWith('/') ? parsed : `${parsed}/`)
  const headers: Record<string, string> =
    username === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` }
  const version = await readVersion(address, headers)
  const https = address.protocol === 'https:'
  const influx = new InfluxDB({
    host: address.hostname,
    port: Number(address.port || (https ? 443 : 80)),
    path: address.pathname.replace(/\/$/, ''),
    protocol: https ? 'https' : 'http',
    database,
    schema: [schema],
    pool: { maxRetries: 0, requestTimeout: queryTimeoutMs, backoff: noPause },
    ...(username === undefined ? {} : { username, password }),
  })

  const unavailable = (reason: string) =>
    new StoreUnavailable(`InfluxDB at ${address.origin} cannot be used now: ${reason}`)

  /** influx's errors carry the request with its Authorization header: only their message goes on. */
  const failure = (error: unknown): Error => {
    const status = (error as { res?: { statusCode?: number } }).res?.statusCode
    const reason = reasonOf(error)
    if (status === 400) return new Error(`InfluxDB at ${address.origin} refused a question: ${reason}`)
    if (status === 401 || status === 403)
      return unavailable(`${reason.trim()}. Check store.username, store.password and what they may do.`)
    return unavailable(reason)
  }

  // A server that dies in the middle of an answer leaves influx waiting for ever.
  const withDeadline = async <Result>(work: Promise<Result>): Promise<Result> => {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new Error(`no answer within ${queryTimeoutMs / 1000} s`)),
      queryTimeoutMs,
    )
    try {
      return await Promise.race([work, late.promise])
    } catch (error) {
      throw failure(error)
    } finally {
      clearTimeout(timer)
    }
  }

  const ask: InfluxConnection['ask'] = async (statements, placeholders) => {
    const question = influx.queryRaw([...statements], { precision: 'u', placeholders, method: 'POST' })
    const answer = (await withDeadline(question)) as Answer
    return (answer.results ?? []).map(({ series = [], error, partial }) => {
      if (error?.includes('database not found'))
        throw unavailable(`${error}. Restart the hub to make it again and fill it from the evidence.`)
      if (error !== undefined) throw new Error(`InfluxDB at ${address.origin} refused a question: ${error}`)
      if (partial)
        throw new Error(
          `InfluxDB at ${address.origin} cut an answer short. Set max-row-limit = 0 in its configuration.`,
        )
      return series
    })
  }

  /**
   * One POST of ready lines. influx's own writePoints reaches 0.59 of the server's rate: it walks each point through a schema
   * map, escapes each tag and field with a regular expression, and cannot build the next batch while one is on its way.
   */
  const post: InfluxConnection['post'] = async (lines, retentionPolicy) => {
    const target = new URL('write', address)
    target.search = new URLSearchParams({
      db: database,
      precision: 'ns',
      ...(retentionPolicy === undefined ? {} : { rp: retentionPolicy }),
    }).toString()
    let status: number
    let detail: string
    try {
      const response = await fetch(target, {
        method: 'POST',
        body: lines,
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(writeTimeoutMs),
      })
      status = response.status
      detail = response.ok ? '' : (await response.text()).trim().slice(0, 500)
    } catch (error) {
      throw unavailable(reasonOf(error))
    }
    if (status >= 200 && status < 300) return { ok: true }
    if (status !== 400 && status !== 413) {
      const next = status === 404 ? ' Restart the hub to make it again and fill it from the evidence.' : ''
      const login = status === 401 || status === 403 ? ' Check store.username and store.password.' : ''
      throw unavailable(`it answered ${status} to a write: ${detail}${next}${login}`)
    }
    const dropped = /dropped=(\d+)/.exec(detail)?.[1]
    return { ok: false, detail, ...(dropped === undefined ? {} : { dropped: Number(dropped) }) }
  }

  /** Makes what is missing; a user without the right to may use what an administrator has made. */
  const createDatabase = async () => {
    const names = await withDeadline(influx.getDatabaseNames()).catch(() => [] as string[])
    if (!names.includes(database)) await withDeadline(influx.createDatabase(database))
    const policies = await withDeadline(influx.showRetentionPolicies(database))
    if (!policies.some(({ name }) => name === cursorPolicy))
      await withDeadline(
        influx.createRetentionPolicy(cursorPolicy, { database, duration: 'INF', replication: 1 }),
      )
  }

  const emptyDatabase = async () => {
    const policies = await withDeadline(influx.showRetentionPolicies(database))
    await withDeadline(influx.dropDatabase(database))
    await createDatabase()
    for (const { name, duration, replicaN, default: isDefault } of policies) {
      if (name === cursorPolicy) continue
      const policy = { database, duration, replication: replicaN, isDefault }
      // A new database has its `autogen` already.
      await withDeadline(
        name === 'autogen'
          ? influx.alterRetentionPolicy(name, policy)
          : influx.createRetentionPolicy(name, policy),
      )
    }
  }

  return { version, ask, post, createDatabase, emptyDatabase }
}
