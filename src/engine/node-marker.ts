/** How the marker key of an engine names the node that it is (NF-31). */

const prefix = 'flapjack node '

export function markerName(node: string): string {
  return `${prefix}${node}`
}

/** The node of a marker's name; `undefined` when it is none of ours. */
export function nodeOfMarker(name: string): string | undefined {
  return name.startsWith(prefix) ? name.slice(prefix.length) : undefined
}
