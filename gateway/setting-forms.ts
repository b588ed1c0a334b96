/** Forms that settings have in common. */
import { z } from 'zod'
import { idPattern } from './reading/reading.ts'

export const id = z.string().regex(idPattern, 'letters, digits, _ and -, at most 64')
export const port = z.int().min(0).max(65_535)
export const host = z.string().min(1).max(255)
export const hexKey = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')

export const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/, '0x and 40 hex digits')

// A billion dollars are enough for one price.
export const microUsd = z.int().min(0).max(1_000_000_000_000_000)
