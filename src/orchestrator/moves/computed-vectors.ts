/** Documents without the vectors that a node computed itself: two replicas ask the embedder each for itself. */
import type { Engine } from '../../engine/engine.ts'
import { canonicalJson, isObject, type Json } from '../../lib/json.ts'

/** The engine as if it showed none of them. */
export function withoutComputedVectors(engine: Engine): Engine {
  return {
    ...engine,
    async fetchDocumentTexts(...call) {
      const reply = await engine.fetchDocumentTexts(...call)
      return reply.kind === 'answered' ? { ...reply, value: reply.value.map(withoutComputed) } : reply
    },
  }
}

/** Texts without such vectors stay as they are, with every digit. */
export function withoutComputed(text: string): string {
  if (!text.includes('"regenerate"')) return text
  const document = JSON.parse(text) as Json
  if (!isObject(document) || !isObject(document._vectors)) return text
  const kept = Object.entries(document._vectors).map(([embedder, vectors]) => {
    const isComputed = isObject(vectors) && vectors.regenerate === true
    return [embedder, isComputed ? { regenerate: true } : vectors] as const
  })
  return canonicalJson({ ...document, _vectors: Object.fromEntries(kept) })
}
