import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseInfluxql } from '#gateway/market/influx/parse.ts'
import { isMeant } from '#gateway/market/influx/parse-where.ts'
import { matcherOf } from '#gateway/market/influx/pattern.ts'
import { maxQueryLength, maxTokens } from '#gateway/market/influx/token.ts'

const nowMs = Date.UTC(2026, 10, 21, 12)
const none = new Map<string, string | number>()

const parse = (query: string, bound: ReadonlyMap<string, string | number> = none) =>
  parseInfluxql(query, bound, nowMs)

const read = (query: string, bound = none) => {
  const parsed = parse(query, bound)
  if (!parsed.ok) return expect.fail(`${query}: ${parsed.detail}`)
  return parsed.statements
}

const refused = (query: string, bound = none): string => {
  const parsed = parse(query, bound)
  return parsed.ok ? expect.fail(`${query} was read`) : parsed.detail
}

const all = 'SELECT temperature FROM readings WHERE time > now() - 1h'

test('a panel as a query builder writes it is read to the last word', () => {
  const [statement] = read(
    `SELECT mean("temperature") AS "air", count("temperature") FROM "autogen"."readings" WHERE ("station"::tag = 'a-b_1') AND time >= 1795258800000ms and time <= 1795262400000ms GROUP BY time(1m, -10s), "sensor"::tag fill(previous) ORDER BY time DESC LIMIT 10 OFFSET 2 SLIMIT 3 SOFFSET 1 tz('UTC')`,
  )
  expect(statement).toMatchObject({
    kind: 'select',
    columns: [
      { kind: 'call', fn: 'mean', field: 'temperature', name: 'air' },
      { kind: 'call', fn: 'count', field: 'temperature' },
    ],
    source: { policy: 'autogen', measurement: 'readings' },
    where: { fromMs: 1795258800000, toMs: 1795262400001, minScore: undefined },
    interval: { everyMs: 60_000, offsetMs: -10_000 },
    groupTags: ['sensor'],
    fill: 'previous',
    descending: true,
    limit: 10,
    offset: 2,
    seriesLimit: 3,
    seriesOffset: 1,
  })
})

test.each([
  ['time > 5s', 5001, undefined],
  ['time >= 5s', 5000, undefined],
  ['time < 5s', undefined, 5000],
  ['time <= 5s', undefined, 5001],
  ['time = 5s', 5000, 5001],
  ['time > 5000000001', 5001, undefined],
  ['time >= 5000000001', 5001, undefined],
  ['time < 5000000001', undefined, 5001],
  ['time = 5000000001', 5001, 5001],
  ['time > now() - 1h30m + 5ms', nowMs - 5_400_000 + 6, undefined],
  ["time >= '2026-11-21'", Date.UTC(2026, 10, 21), undefined],
  ["time >= '2026-11-21 10:00:00.5'", Date.UTC(2026, 10, 21, 10, 0, 0, 500), undefined],
  ["time >= '2026-11-21T10:00:00.000000001Z'", Date.UTC(2026, 10, 21, 10, 0, 0, 1), undefined],
  ["time >= '2026-11-21T10:00:00+02:00' AND time > 0", Date.UTC(2026, 10, 21, 8), undefined],
  ['time > 1s AND (time > 3s AND (time < 9s)) AND time < 20s', 3001, 9000],
  ['time < -5', undefined, undefined],
])('whole milliseconds of %s', (condition, fromMs, toMs) => {
  if (condition.endsWith('-5'))
    return expect(refused(`SELECT co2 FROM readings WHERE ${condition}`)).toContain('time is')
  expect(read(`SELECT co2 FROM readings WHERE ${condition}`)).toMatchObject([{ where: { fromMs, toMs } }])
})

const tags = { station: 's-1', sensor: 'roof', model: 'sds011' }

test.each([
  ["station = 's-1'", true],
  ["station = 's-2'", false],
  ["station != 's-2' AND sensor <> 'cellar'", true],
  ["station = 's-2' OR sensor = 'roof' AND model = 'nothing'", false],
  ["(station = 's-2' OR sensor = 'roof') AND model = 'sds011'", true],
  ['station =~ /^(s-1|s-2)$/', true],
  ['station !~ /^(s-1|s-2)$/', false],
  ['sensor =~ /^(cellar|garden)$/', false],
  ['"sensor"::tag =~ /oo/ AND model =~ /^sds.*/', true],
])('%s', (condition, meant) => {
  const [statement] = read(`${all} AND (${condition})`)
  expect(isMeant(statement!.where.tags, tags)).toBe(meant)
})

test.each([
  ['^(a|b)$', ['a', 'b'], ['', 'ab', 'c', 'a|b']],
  ['^a$', ['a'], ['ab', 'ba']],
  ['^a', ['a', 'ab'], ['ba']],
  ['a$', ['a', 'ba'], ['ab']],
  ['a|b', ['xax', 'b'], ['c']],
  ['(?i)^TeMp', ['temperature', 'TEMP'], ['attempt']],
  ['.*', ['', 'anything'], []],
  ['^.*$', ['', 'anything'], []],
  ['^s.*', ['s', 'sds'], ['as']],
  ['^s.*$', ['s', 'sds'], ['as']],
  ['^.*s$', ['s', 'as'], ['sa']],
  ['', ['', 'anything'], []],
  ['^(?:a\\-b|c\\.d)$', ['a-b', 'c.d'], ['cxd', 'a\\-b']],
])('/%s/ is matched as a regular expression would', (pattern, yes, no) => {
  const matches = matcherOf(pattern)
  const expression = new RegExp(pattern.replace('(?i)', ''), pattern.startsWith('(?i)') ? 'i' : '')
  for (const text of yes) expect([matches(text), expression.test(text)], text).toEqual([true, true])
  for (const text of no) expect([matches(text), expression.test(text)], text).toEqual([false, false])
})

test.each([
  'a+',
  '[ab]',
  '(a+)+$',
  '^(a|(b))$',
  'a{2}',
  '\\d',
  '^a|b$',
  'a.b',
  '(a',
  'a)',
  '^(a|b',
  '(?=a)',
  'x*',
  '\\',
])('/%s/ is refused, and never run', (pattern) => {
  expect(() => matcherOf(pattern)).toThrow('regular expressions are words here')
})

test('quotes and escapes are those of InfluxQL', () => {
  expect(read('select "temperature" as "a \\"b\\" \\\\ \\n" from readings where time > 0')).toMatchObject([
    { columns: [{ name: 'a "b" \\ \n' }] },
  ])
  expect(refused(`${all} AND station = 'a\\'b'`)).toContain(
    "station takes 1 to 64 of A-Z a-z 0-9 _ -, not 'a'b'",
  )
  expect(refused(`${all} AND station = 'a\\qb'`)).toContain('is no escape')
  expect(refused(`${all} AND station = 'a`)).toContain("no closing '")
  expect(refused(`${all} AND station = "a"`)).toContain('in single quotes')
})

test.each([
  "' OR 1=1 --",
  "x'; DROP DATABASE groundtruth; --",
  '',
  '../..',
  '\u0000',
  'a b',
  '$x',
  'ä',
  'x'.repeat(65),
])('an id such as %j is refused, bound or written', (id) => {
  expect(refused(`${all} AND station = $id`, new Map([['id', id]]))).toContain('station takes 1 to 64')
  const written = `'${id.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  expect(refused(`${all} AND station = ${written}`)).toContain('station takes 1 to 64')
})

test('a bound parameter is a value, and never a piece of the language', () => {
  const bound = new Map<string, string | number>([
    ['from', 1_795_258_800_000_000_000],
    ['id', 'garden'],
    ['n', 3],
    ['field', 'temperature'],
  ])
  expect(
    read('SELECT temperature FROM readings WHERE time >= $from AND sensor = $id LIMIT $n', bound),
  ).toMatchObject([{ where: { fromMs: 1_795_258_800_000 }, limit: 3 }])
  expect(refused('SELECT $field FROM readings', bound)).toContain('found temperature, expected a field')
  expect(refused('SELECT temperature FROM $id', bound)).toContain('expected the name of a measurement')
  expect(refused(`${all} AND sensor = $other`, bound)).toContain('missing parameter: other')
})

test.each([
  ['SELECT temperature * 2 FROM readings', 'calculating with fields is not answered'],
  ['SELECT mean(temperature) / 10 FROM readings', 'calculating with fields is not answered'],
  [
    'SELECT median(temperature) FROM readings',
    'median() is not answered; fields are selected as they are, or as mean, sum,',
  ],
  ['SELECT derivative(mean(temperature), 1s) FROM readings', 'derivative() is not answered'],
  ['SELECT mean(derivative(temperature)) FROM readings', 'no field "derivative"'],
  ['SELECT percentile(temperature, 95) FROM readings', 'percentile() is not answered'],
  ['SELECT max(temperature, 3) FROM readings', 'expected ) after the one field of max'],
  ['SELECT count(distinct(temperature)) FROM readings', 'no field "distinct"'],
  ['SELECT DISTINCT temperature FROM readings', 'no field "DISTINCT"'],
  ['SELECT mean(*) FROM readings', 'mean(*) is not answered'],
  ['SELECT mean(score) FROM readings', 'mean(score) is not answered'],
  ['SELECT *::field FROM readings', '*::field and *::tag are not answered'],
  ['SELECT /temp.*/ FROM readings', 'found /, expected a field'],
  ['SELECT temprature FROM readings', 'there is no field "temprature"; did you mean "temperature"?'],
  ['SELECT latitude FROM readings', 'there is no field "latitude"; SHOW FIELD KEYS lists them'],
  ['SELECT station FROM readings', 'select at least one quantity'],
  ['SELECT score FROM readings', 'select at least one quantity'],
  ['SELECT time FROM readings', 'select at least one quantity'],
  ['SELECT temperature, mean(temperature) FROM readings', 'mixing aggregate and non-aggregate'],
  ['SELECT temperature INTO other FROM readings', 'nothing is written here'],
  ['SELECT temperature FROM (SELECT temperature FROM readings)', 'queries within queries are not answered'],
  ['SELECT temperature FROM readings, readings', 'one measurement is answered at once'],
  ['SELECT temperature FROM /read.*/', 'not a pattern'],
  [`${all} AND temperature > 20`, 'WHERE takes time, the tags station, sensor and model, and score'],
  [`${all} AND score > 0.9`, 'score is compared with >= alone'],
  [`${all} AND score >= 2`, 'a score is from 0 to 1'],
  [`${all} AND 'roof' = sensor`, 'expected time, station, sensor, model or score, on the left'],
  [`${all} AND sensor = roof`, 'in single quotes'],
  [`${all} AND sensor > 'roof'`, 'sensor is compared with =, !=, =~ or !~'],
  [`${all} AND sensor =~ 'roof'`, 'expected a regular expression'],
  [`${all} OR time > now() - 2h`, 'time cannot stand beside OR'],
  [
    `SELECT co2 FROM readings WHERE time > 0 AND (sensor = 'roof' OR score >= 0.5)`,
    'score cannot stand beside OR',
  ],
  [`${all} AND time != 5`, 'time is compared with =, <, <=, > or >='],
  [`${all} AND time > 'yesterday'`, "'yesterday' is no time"],
  [`${all} AND time > '2026-02-30'`, "'2026-02-30' is no time"],
  [`${all} AND time > now() - 5`, 'expected a duration'],
  [`${all} AND time > 1.5`, 'time is compared with now()'],
  [`${all} AND`, 'found EOF, expected time'],
  [`${all} fill(none)`, 'fill() must be used with a function'],
  [`${all} GROUP BY time(1m)`, 'GROUP BY requires at least one aggregate function'],
  [`${all} GROUP BY city`, 'there is no tag "city"; there are model, sensor, station'],
  [`${all} GROUP BY temperature`, 'there is no tag "temperature"'],
  [`${all} GROUP station`, 'expected ; or the end'],
  [`${all} ORDER BY station`, 'only ORDER BY time supported'],
  [`${all} ORDER BY time, station`, 'only ORDER BY time supported'],
  [`${all} OFFSET 3`, 'OFFSET goes with LIMIT'],
  [`${all} SOFFSET 3`, 'SOFFSET goes with SLIMIT'],
  [`${all} LIMIT -1`, 'a whole number for LIMIT'],
  [`${all} LIMIT 1.5`, 'LIMIT takes a whole number'],
  [`${all} LIMIT 99999999999`, 'LIMIT takes a whole number'],
  [`${all} LIMIT 5 WHERE station = 'a'`, 'found WHERE, expected ; or the end of the query'],
  [`${all} tz('Europe/Vienna')`, "tz() takes 'UTC' alone"],
  [`${all} HAVING x`, 'found HAVING, expected ; or the end of the query'],
  ['SELECT mean(co2) FROM readings GROUP BY time(1m), time(2m)', 'multiple time dimensions not allowed'],
  ['SELECT mean(co2) FROM readings GROUP BY time(0s)', 'an interval from 1ms'],
  ['SELECT mean(co2) FROM readings GROUP BY time(100ns)', 'whole milliseconds'],
  ['SELECT mean(co2) FROM readings GROUP BY time(400d)', 'at most 366d'],
  ['SELECT mean(co2) FROM readings GROUP BY time(auto)', 'expected a duration'],
  ['SELECT mean(co2) FROM readings GROUP BY time(1m, now())', 'expected a duration'],
  [
    'SELECT mean(co2) FROM readings GROUP BY time(1m) fill(average)',
    'fill() takes null, none, previous, linear or a number',
  ],
  ['SELECT mean(co2) FROM readings GROUP BY time(1m) fill(-none)', 'fill() takes'],
  ['SHOW TAG VALUES', 'expected WITH'],
  ['SHOW TAG VALUES WITH KEY > "a"', '=, !=, =~ or !~ is expected'],
  ["SHOW FIELD KEYS WHERE station = 'a'", 'expected ; or the end'],
  ['SHOW TAG KEYS WHERE score >= 0.5', 'score is a condition of SELECT'],
  [
    'SHOW USERS',
    'expected DATABASES, RETENTION POLICIES, MEASUREMENTS, TAG KEYS, TAG VALUES, FIELD KEYS, SERIES',
  ],
  ['SHOW TAG KEY CARDINALITY', 'expected DATABASES'],
  ['SHOW MEASUREMENTS LIMIT 5 extra', 'found extra, expected ; or the end of the query'],
  ['DROP DATABASE groundtruth', 'found DROP, expected SELECT or SHOW'],
  ['CREATE DATABASE x', 'found CREATE, expected SELECT or SHOW'],
  ['DELETE FROM readings', 'found DELETE'],
  ['EXPLAIN SELECT temperature FROM readings', 'found EXPLAIN'],
  [`${all}; DROP DATABASE x`, 'found DROP'],
  ['', 'found EOF'],
  [';;', 'found EOF'],
  [`${all} -- comment`, 'comments are not read here'],
  [`${all} /* comment */`, 'comments are not read here'],
  [`${all} #`, '"#" means nothing here'],
  [
    `SELECT temperature FROM readings WHERE ${'('.repeat(20)}time > 0${')'.repeat(20)}`,
    'more than 16 parentheses',
  ],
  [`${'SHOW DATABASES;'.repeat(17)}`, 'more than 16 statements'],
])('%s is refused: %s', (query, reason) => {
  expect(refused(query)).toContain(reason)
})

test('the place of what is wrong is told as InfluxDB tells it', () => {
  expect(refused('SELECT co2\n  FROM readings WHERE rain > 5')).toMatch(/at line 2, char 23$/)
  expect(refused('SELECT co2 FRM readings')).toBe('found FRM, expected FROM at line 1, char 12')
})

test('length, words and statements are bounded', () => {
  expect(refused(`${all}${' '.repeat(maxQueryLength)}`)).toContain(`at most ${maxQueryLength} characters`)
  expect(refused(`SELECT ${'co2,'.repeat(300)}co2 FROM readings`)).toContain('more than 256 columns')
  expect(refused('(a'.repeat(maxTokens))).toContain(`at most ${maxTokens} words and signs`)
  expect(refused(`${all} AND station =~ /^(${'a|'.repeat(1000)}b)$/`)).toContain('at most 1000 whole words')
  expect(refused(`${all} AND station =~ /^(${'a|'.repeat(8)}b)/`)).toContain('8 parts of words')
  expect(parse(`${all} AND station =~ /^(${'a|'.repeat(999)}b)$/`).ok).toBe(true)
  expect(refused(`${all}${" AND sensor = 'a'".repeat(64)}`)).toContain('more than 64 conditions')
  expect(parse(`${all}${" AND sensor = 'a'".repeat(63)}`).ok).toBe(true)
})

const pieces = [
  'SELECT',
  'mean',
  '(',
  ')',
  'temperature',
  '"station"',
  "'roof'",
  'FROM',
  'readings',
  'WHERE',
  'time',
  '>=',
  '=',
  '=~',
  '/^(a|b)$/',
  '/((((/',
  'now()',
  '-',
  '+',
  '1h',
  '5',
  '0.5',
  'AND',
  'OR',
  'GROUP BY',
  'time(1m)',
  ',',
  '*',
  'fill',
  'null',
  'ORDER BY',
  'DESC',
  'LIMIT',
  'SHOW',
  'TAG VALUES',
  'WITH KEY',
  'IN',
  ';',
  '::',
  'tag',
  '.',
  '$x',
  '$"x',
  '"',
  "'",
  '\\',
  '/',
  '--',
  '\n',
  'score',
  "tz('UTC')",
  '\u0000',
  '💧',
  '9'.repeat(40),
]

test('whatever comes is read or refused, and nothing else happens', () => {
  const query = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((list) => list.join(' ')),
    fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((list) => list.join('')),
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.tuple(fc.nat(160), fc.constantFrom(...pieces)).map(([at, piece]) => {
      const whole = `SELECT mean(temperature), last(co2) AS x FROM "autogen".readings WHERE station =~ /^(a|b)$/ AND time > now() - 1h GROUP BY time(1m), sensor fill(0) ORDER BY time DESC LIMIT 5`
      return `${whole.slice(0, at)}${piece}${whole.slice(at)}`
    }),
  )
  const values = fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }))
  fc.assert(
    fc.property(query, values, (text, value) => {
      const parsed = parse(text, new Map([['x', value]]))
      if (parsed.ok) expect(parsed.statements.length).toBeGreaterThan(0)
      else expect(parsed.detail.length).toBeGreaterThan(0)
    }),
    { numRuns: 5000 },
  )
})

test('a word too many anywhere is refused: no clause is skipped', () => {
  const whole =
    "SELECT mean(temperature) AS x FROM readings WHERE sensor = 'roof' AND time > now() - 1h GROUP BY time(1m), sensor fill(0) ORDER BY time DESC LIMIT 5"
  const words = whole.split(' ')
  expect(parse(whole).ok).toBe(true)
  for (let at = 0; at <= words.length; at++) {
    const more = [...words.slice(0, at), 'nonsense', ...words.slice(at)].join(' ')
    // An operator between two numbers or names could make sense of a word; none of these places has one.
    expect(parse(more).ok, more).toBe(false)
  }
})
