/** Times of day in which something may happen, such as `22:00-06:00`, in UTC (C-26). Pure. */

const form = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)(?: UTC)?$/
const minuteMs = 60_000
const dayMinutes = 24 * 60

/** Whether a text names a time of day: its beginning is part of it, its end is not; it may go over midnight. */
export function isDailyWindow(text: string): boolean {
  return minutesOf(text) !== undefined
}

/** @param windows  texts that `isDailyWindow` takes; none = always. */
export function isWithin(windows: readonly string[], now: number): boolean {
  if (windows.length === 0) return true
  const minute = Math.floor(now / minuteMs) % dayMinutes
  return windows.some((window) => {
    const [from = 0, to = 0] = minutesOf(window) ?? []
    return from < to ? minute >= from && minute < to : minute >= from || minute < to
  })
}

function minutesOf(text: string): readonly [number, number] | undefined {
  const match = form.exec(text)
  if (match === null) return undefined
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = match.slice(1).map(Number)
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute]
  return from === to ? undefined : [from, to]
}
