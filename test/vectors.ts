/** Published test vectors, kept beside the repository in ../shared/vectors. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

const root = new URL('../../shared/vectors/', import.meta.url)

/** Whether the vectors are there; suites that need them say in their name why they were skipped. */
export const haveVectors = existsSync(root)

/** For a suite's title: empty, or the reason why it is skipped. */
export const vectorsNote = haveVectors ? '' : ' (SKIPPED: ../shared/vectors is not beside this repository)'

export const vectorBytes = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(path, root)))

export const vectorText = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** Parsed JSON; the caller names its shape. */
export const vectorJson = <Shape>(path: string): Shape => JSON.parse(vectorText(path)) as Shape

/** File names in a folder of vectors, sorted. */
export const vectorNames = (folder: string): string[] => readdirSync(new URL(folder, root)).sort()
