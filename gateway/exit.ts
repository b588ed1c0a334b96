/** Exit codes by kind of failure, after BSD sysexits, so that scripts and systemd can tell them apart. */
import { ConfigError } from './config.ts'
import { DataDirectoryError } from './data-lock.ts'

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 64,
  unavailable: 69,
  internal: 70,
  cannotCreate: 73,
  config: 78,
} as const

const systemCodes: Readonly<Record<string, number>> = {
  EADDRINUSE: exitCodes.unavailable,
  EADDRNOTAVAIL: exitCodes.unavailable,
  ECONNREFUSED: exitCodes.unavailable,
  EACCES: exitCodes.cannotCreate,
  EROFS: exitCodes.cannotCreate,
  ENOSPC: exitCodes.cannotCreate,
}

const causes = function* (error: unknown): Generator<Error> {
  for (let one = error; one instanceof Error; one = one.cause) yield one
}

/** What a person is told of an error that ends the program, and the code it ends with. */
export const explain = (error: unknown): { readonly message: string; readonly code: number } => {
  for (const one of causes(error)) {
    if (one instanceof ConfigError) return { message: one.message, code: exitCodes.config }
    if (one instanceof DataDirectoryError) return { message: one.message, code: exitCodes.cannotCreate }
    const { code, port, syscall } = one as NodeJS.ErrnoException & { port?: number }
    if (code === 'EADDRINUSE' && syscall === 'listen')
      return {
        message:
          `port ${port} is taken by another program.\n` +
          'Stop that program, or choose other ports with --http-port, --mqtt-port and --rpc-port (0 picks a free one).',
        code: exitCodes.unavailable,
      }
    if (code !== undefined && systemCodes[code] !== undefined)
      return { message: (error as Error).message, code: systemCodes[code] }
  }
  return {
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    code: exitCodes.internal,
  }
}
