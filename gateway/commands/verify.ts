/** `groundtruth verify` */
import { verifyCommand } from '../verify/cli.ts'

/** Ends with 1 where the bundle does not hold. */
export const verify = async (
  file: string,
  options: { answer?: string; rpc?: string; json: boolean },
): Promise<void> => {
  process.exitCode = await verifyCommand({ file, ...options }, process.stdout)
}
