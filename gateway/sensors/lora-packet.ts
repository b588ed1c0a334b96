/** LoRaWAN's ciphers and layouts, from npm lora-packet (MIT). */
import imported from 'lora-packet'

/** The library: `fromWire`, `fromFields`, `verifyMIC`, `decrypt`. It may throw for bytes that are no frame. */
// Its types describe `module.exports.default`; what Node imports is `module.exports`, the same object one step nearer.
export const loraPacket = imported as unknown as (typeof imported)['default']
