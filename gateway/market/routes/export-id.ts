/** How the routes of one export know it, and who asks. */
import { z } from '@hono/zod-openapi'

/** Where it was ordered without a key none is needed either: its id is known to its buyer only. */
export const keyOrId = [{ key: [] }, {}]

/** The id of an export in its address. */
export const exportId = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'takes the id of an export')
    .openapi({ description: 'As in "id" of the answer to the order' }),
})
