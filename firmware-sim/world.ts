/** The one world that all simulated devices stand in: weather by season and hour, air that is worse some days. */
import { chanceAt, smoothNoise } from './random.ts'

/** Where something stands: degrees (WGS 84) and metres above sea level. */
export type Place = { readonly latitude: number; readonly longitude: number; readonly altitudeM: number }

/** The air at a place and moment: °C, %, hPa, and µg/m³ of particles. */
export type Conditions = {
  readonly temperature: number
  readonly humidity: number
  readonly pressure: number
  readonly pm1: number
  readonly pm2_5: number
  readonly pm10: number
}

/** Conditions at any place and time, the same whenever they are asked for. Time is UTC milliseconds. */
export type World = { readonly at: (place: Place, timeMs: number) => Conditions }

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const yearMs = 365.2425 * dayMs
const tau = 2 * Math.PI

// A cell may have one episode in each slot: smoke, an inversion, fireworks.
const cellKm = 40
const slotMs = 12 * hourMs
const episodeChance = 0.25

/** Kilometres east and north, good enough for distances between neighbours. */
const kilometres = ({ latitude, longitude }: Place): readonly [x: number, y: number] => [
  longitude * 111.32 * Math.cos((latitude * Math.PI) / 180),
  latitude * 110.57,
]

/** A place within so many kilometres, evenly over the disc; at nearly the same height. */
export const around = (centre: Place, radiusKm: number, random: () => number): Place => {
  const distance = radiusKm * Math.sqrt(random())
  const bearing = 2 * Math.PI * random()
  const north = (distance * Math.cos(bearing)) / 111
  const east = (distance * Math.sin(bearing)) / (111 * Math.cos((centre.latitude * Math.PI) / 180))
  return {
    latitude: centre.latitude + north,
    longitude: centre.longitude + east,
    altitudeM: Math.round(centre.altitudeM + 20 * (random() - 0.5)),
  }
}

/** Saturation vapour pressure over water in hPa (Magnus formula, WMO-No. 8 annex 4.B). */
const saturation = (celsius: number): number => 6.112 * Math.exp((17.62 * celsius) / (243.12 + celsius))

const bell = (distance: number, width: number): number => Math.exp(-0.5 * (distance / width) ** 2)

/** What pollution episodes add to PM2.5, in µg/m³. */
const episodes = (seed: number, x: number, y: number, timeMs: number): number => {
  const cell = [Math.floor(x / cellKm), Math.floor(y / cellKm), Math.floor(timeMs / slotMs)] as const
  let total = 0
  for (let near = 0; near < 27; near += 1) {
    const at = [
      cell[0] + (near % 3) - 1,
      cell[1] + (Math.floor(near / 3) % 3) - 1,
      cell[2] + Math.floor(near / 9) - 1,
    ]
    const [cx, cy, slot] = at as [number, number, number]
    if (chanceAt(seed, 1, ...at) >= episodeChance) continue
    const peak = 20 + 130 * chanceAt(seed, 2, ...at) ** 2
    const distanceKm = Math.hypot(
      x - (cx + chanceAt(seed, 3, ...at)) * cellKm,
      y - (cy + chanceAt(seed, 4, ...at)) * cellKm,
    )
    const peakMs = (slot + chanceAt(seed, 5, ...at)) * slotMs
    const widthMs = (0.5 + 2 * chanceAt(seed, 6, ...at)) * hourMs
    total += peak * bell(distanceKm, 10) * bell(timeMs - peakMs, widthMs)
  }
  return total
}

/** The world of that seed. Neighbours within a few kilometres see nearly the same; 100 km apart they do not. */
export const world = (seed: number): World => ({
  at: (place, timeMs) => {
    const [x, y] = kilometres(place)
    const solarHour = (((timeMs / hourMs + place.longitude / 15) % 24) + 24) % 24
    const towardsPole = Math.sin((place.latitude * Math.PI) / 180)

    const season = -Math.cos(tau * (timeMs / yearMs - 0.055)) * Math.sign(place.latitude || 1)
    const front = smoothNoise(seed + 1, x / 300, y / 300, timeMs / (2 * dayMs))
    const cloud = 0.5 + 0.5 * smoothNoise(seed + 2, x / 60, y / 60, timeMs / (8 * hourMs))
    const local = smoothNoise(seed + 3, x / 4, y / 4, timeMs / hourMs)
    const temperature =
      27 -
      22 * towardsPole ** 2 +
      11 * Math.abs(towardsPole) * season +
      // Warmest in the middle of the afternoon; clouds halve the difference between day and night.
      (6 - 3 * cloud) * Math.cos((tau * (solarHour - 15)) / 24) +
      5 * front +
      0.6 * local -
      0.0065 * place.altitudeM

    const dewPoint =
      temperature - 2 - 9 * (1 - cloud) - 3 * Math.max(0, Math.cos((tau * (solarHour - 15)) / 24))
    const humidity = Math.min(100, (100 * saturation(dewPoint)) / saturation(temperature))

    const seaLevel =
      1013.25 +
      14 * smoothNoise(seed + 4, x / 800, y / 800, timeMs / (3 * dayMs)) +
      0.8 * Math.cos((2 * tau * (solarHour - 10)) / 24)
    const pressure = seaLevel * (1 - 2.25577e-5 * place.altitudeM) ** 5.25588

    const traffic = bell(solarHour - 8, 1.5) + bell(solarHour - 18, 2)
    const pm2_5 = Math.max(
      0.5,
      7 +
        5 * smoothNoise(seed + 5, x / 80, y / 80, timeMs / (12 * hourMs)) +
        4 * traffic +
        1.2 * smoothNoise(seed + 6, x / 3, y / 3, timeMs / (hourMs / 2)) +
        episodes(seed + 7, x, y, timeMs),
    )
    const coarse = 4 + 3 * smoothNoise(seed + 8, x / 20, y / 20, timeMs / (4 * hourMs)) + 3 * traffic
    return { temperature, humidity, pressure, pm1: 0.65 * pm2_5, pm2_5, pm10: 1.1 * pm2_5 + coarse }
  },
})
