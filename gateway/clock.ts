/** Where this machine's time comes from. */
import { type Machine, systemMachine } from './time/system.ts'

/** The clocks of this machine, and who vouches for them. */
export const systemClock: Machine = systemMachine()
