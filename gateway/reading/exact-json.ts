/** JSON whose whole numbers may be larger than a JavaScript number holds exactly. */

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

/**
 * The value of a JSON text; a whole number beyond 2^53 is a bigint, everything else as `JSON.parse` gives it. Throws a
 * SyntaxError for what is not JSON, a RangeError for what is nested too deeply.
 */
export const exactJson = (text: string): unknown => {
  // The third argument is ECMAScript's "JSON.parse source text access", in V8 and not in the type library yet.
  const revive: Reviver = (_key, value, { source = '' }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d{1,40}$/.test(source)
      ? BigInt(source)
      : value
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown)
}
