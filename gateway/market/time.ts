/** Times and durations as people write them in a query. */

/** A moment: fixed, or so long before the query is run. */
export type TimeRef = { readonly ms: number } | { readonly agoMs: number }

const units = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const

/** Milliseconds of `500ms`, `30s`, `5m`, `1h`, `1d`, `2w`; undefined for anything else and for nothing. */
export const parseDuration = (text: string): number | undefined => {
  const match = /^([0-9]{1,9})(ms|s|m|h|d|w)$/.exec(text)
  if (match === null) return undefined
  const ms = Number(match[1]) * units[match[2] as keyof typeof units]
  return ms > 0 && Number.isSafeInteger(ms) ? ms : undefined
}

/** Shortest spelling that `parseDuration` reads back. */
export const durationText = (ms: number): string => {
  const unit = (['w', 'd', 'h', 'm', 's'] as const).find((name) => ms % units[name] === 0) ?? 'ms'
  return `${ms / units[unit]}${unit}`
}

// RFC 3339 s5.6; the offset's + arrives as a space where a client did not escape it.
const dateTime = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)([Zz]|[+\- ]\d{2}:\d{2})$/

// Until 9999-12-31: what RFC 3339 can write, so that every time in a query can be shown in an answer.
const maxMs = 253_402_300_799_999

// Seconds since 1970 are smaller than this until the year 5138, milliseconds have been larger since 1973.
const minEpochMs = 100_000_000_000

const parseDateTime = (text: string): number | undefined => {
  const match = dateTime.exec(text)
  if (match === null) return undefined
  const [, date, time, offset] = match as unknown as [string, string, string, string]
  const iso = `${date}T${time}${offset.replace(' ', '+').toUpperCase()}`
  const ms = Date.parse(iso)
  // Date.parse takes 31 April as 1 May; a date that does not exist is a mistake.
  if (Number.isNaN(ms) || new Date(`${date}T00:00:00Z`).toISOString().slice(0, 10) !== date) return undefined
  return ms >= 0 && ms <= maxMs ? ms : undefined
}

/** Reads `now`, `-1h`, `2026-11-21T10:00:00Z` or milliseconds since 1970; the error says what was expected. */
export const parseTime = (
  text: string,
): { readonly ok: true; readonly time: TimeRef } | { readonly ok: false; readonly detail: string } => {
  if (text === 'now') return { ok: true, time: { agoMs: 0 } }
  if (/^[0-9]{1,16}$/.test(text)) {
    const ms = Number(text)
    if (ms !== 0 && ms < minEpochMs)
      return { ok: false, detail: 'looks like seconds since 1970; milliseconds are expected' }
    return ms <= maxMs ? { ok: true, time: { ms } } : { ok: false, detail: 'is after the year 9999' }
  }
  if (text.startsWith('-')) {
    const agoMs = parseDuration(text.slice(1))
    if (agoMs !== undefined) return { ok: true, time: { agoMs } }
  }
  const ms = parseDateTime(text)
  if (ms !== undefined) return { ok: true, time: { ms } }
  return {
    ok: false,
    detail:
      'takes a time such as 2026-11-21T10:00:00Z, milliseconds since 1970, or back from now such as -1h',
  }
}

/** UTC ms of a moment for a query that is run at `nowMs`. */
export const resolveTime = (time: TimeRef, nowMs: number): number =>
  'ms' in time ? time.ms : Math.max(0, nowMs - time.agoMs)

/** RFC 3339 with milliseconds, in UTC. */
export const timeText = (ms: number): string => new Date(ms).toISOString()

/** A time for a name: `20261121T110000Z`. */
export const stampText = (ms: number): string => timeText(ms).replaceAll(/[-:]|\.\d+/g, '')
