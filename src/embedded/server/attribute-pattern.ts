/** Patterns over names of fields (M-D3): `*`, `prefix*`, `*suffix`, `*contains*`, or exact. */
export function matchesAttribute(pattern: string, name: string): boolean {
  if (pattern === '*') return true
  const open = pattern.startsWith('*')
  const close = pattern.endsWith('*')
  const stem = pattern.slice(open ? 1 : 0, close ? -1 : undefined)
  if (open && close) return name.includes(stem)
  if (close) return name.startsWith(stem)
  return open ? name.endsWith(stem) : name === pattern
}
