/** Finds the route of a path: a tree of segments, built once. Fixed segments win over parameters (`{uid}`). */

interface Branch<R> {
  readonly statics: Map<string, Branch<R>>
  parameter: Branch<R> | undefined
  readonly methods: Map<string, R>
}

export type RouteMatch<R> =
  | { readonly kind: 'found'; readonly route: R; readonly params: readonly string[] }
  | { readonly kind: 'wrong-method'; readonly allowed: readonly string[] }
  | { readonly kind: 'unknown' }

export class RouteTree<R> {
  readonly #root: Branch<R> = branch()

  add(method: string, path: string, route: R): void {
    let at = this.#root
    for (const segment of path.split('/').filter((part) => part !== '')) {
      if (segment.startsWith('{')) {
        at.parameter ??= branch()
        at = at.parameter
      } else {
        const next = at.statics.get(segment) ?? branch<R>()
        at.statics.set(segment, next)
        at = next
      }
    }
    at.methods.set(method, route)
  }

  /** `params`: segments in place of the path's parameters, in order, escapes as sent. */
  find(method: string, path: string): RouteMatch<R> {
    let at = this.#root
    const params: string[] = []
    for (let start = 1; start < path.length; ) {
      const slash = path.indexOf('/', start)
      const end = slash < 0 ? path.length : slash
      const segment = path.slice(start, end)
      start = end + 1
      if (segment === '') continue
      const fixed = at.statics.get(segment)
      if (fixed !== undefined) at = fixed
      else if (at.parameter !== undefined) {
        params.push(segment)
        at = at.parameter
      } else return { kind: 'unknown' }
    }
    const route = at.methods.get(method)
    if (route !== undefined) return { kind: 'found', route, params }
    return at.methods.size === 0 ? { kind: 'unknown' } : { kind: 'wrong-method', allowed: [...at.methods.keys()] }
  }
}

function branch<R>(): Branch<R> {
  return { statics: new Map(), parameter: undefined, methods: new Map() }
}
