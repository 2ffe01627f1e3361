/** What operators read of a node that takes no writes or does not answer; empty = nothing is wrong. */

/** @param silentSince  when it ceased to answer its worker; null = it answers. */
export function troubleText(trouble: string | null, silentSince: number | null): string {
  if (silentSince === null) return trouble ?? ''
  return `it has not answered since ${new Date(silentSince).toISOString()}${trouble === null ? '' : `; before, ${trouble}`}`
}
