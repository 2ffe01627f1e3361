/** Dates as clients write them. Answers are ms since 1970. */

const dayForm = /^(\d{4})-(\d{2})-(\d{2})$/
const timeForm = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/
const bareTimeForm = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})$/

export const dayMs = 86_400_000

/** RFC 3339. */
export function parseTime(text: string): number | undefined {
  const parts = timeForm.exec(text)
  if (parts === null) return undefined
  const [, year, month, day, hour, minute, second, fraction = '', zone = 'Z'] = parts
  const local = utc(year!, month!, day!, hour!, minute!, second!)
  if (local === undefined) return undefined
  const ms = fraction === '' ? 0 : Math.floor(Number(fraction) * 1000)
  return local + ms - offsetMs(zone)
}

/** `YYYY-MM-DD`: the first moment of the day, UTC. */
export function parseDay(text: string): number | undefined {
  const parts = dayForm.exec(text)
  return parts === null ? undefined : utc(parts[1]!, parts[2]!, parts[3]!, '00', '00', '00')
}

/** `YYYY-MM-DDTHH:MM:SS` or with a blank, UTC. */
export function parseBareTime(text: string): number | undefined {
  const parts = bareTimeForm.exec(text)
  return parts === null ? undefined : utc(parts[1]!, parts[2]!, parts[3]!, parts[4]!, parts[5]!, parts[6]!)
}

function offsetMs(zone: string): number {
  if (zone === 'Z' || zone === 'z') return 0
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6))
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000
}

function utc(year: string, month: string, day: string, hour: string, minute: string, second: string) {
  const numbers = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const date = new Date(0)
  date.setUTCFullYear(numbers[0], numbers[1] - 1, numbers[2])
  date.setUTCHours(numbers[3], numbers[4], numbers[5], 0)
  const same =
    date.getUTCFullYear() === numbers[0] &&
    date.getUTCMonth() === numbers[1] - 1 &&
    date.getUTCDate() === numbers[2] &&
    date.getUTCHours() === numbers[3] &&
    date.getUTCMinutes() === numbers[4] &&
    date.getUTCSeconds() === numbers[5]
  return same ? date.getTime() : undefined
}
