/** Values that expressions work with. */
import type { Geometry } from './geometry.ts'

/** A span of time in UTC ms, ends included; of a moment both ends are the same. */
export type Span = { readonly kind: 'span'; readonly fromMs: number; readonly toMs: number }
export type Length = { readonly kind: 'length'; readonly ms: number }
export type Place = { readonly kind: 'place'; readonly geometry: Geometry }

/** What an expression's parts can be. */
export type Value = string | number | boolean | null | Span | Length | Place
