/** Questions about documents, which the generators of searches do not ask. */
import type { Json } from '../../../src/lib/json.ts'
import { chanceOf } from '../differential/chance.ts'
import { makeFilter } from '../differential/filters.ts'
import type { Question } from '../differential/questions.ts'
import type { World } from '../differential/worlds.ts'

const sorts = ['year:asc', 'rating:desc', 'title:asc', 'date:desc', 'maker.name:asc', 'genre:desc']

export function documentQuestions({ uid, documents }: World, seed: number, count: number): readonly Question[] {
  const chance = chanceOf(seed * 1_000 + documents.length)
  const id = () => Number(chance.pick(documents).id)
  return Array.from({ length: count }, (): Question => {
    const share = chance.random.float()
    if (share < 0.15) {
      const fields = chance.pick(['', '?fields=id,title', '?retrieveVectors=true', '?fields=maker.name,variants'])
      return { method: 'GET', path: `/indexes/${uid}/documents/${chance.is(0.2) ? 'nobody' : id()}${fields}` }
    }
    if (share < 0.3) {
      const page = `offset=${chance.pick([0, 3, 30])}&limit=${chance.pick([0, 1, 5, 20])}`
      return { method: 'GET', path: `/indexes/${uid}/documents?${page}&fields=id,title` }
    }
    const body: Record<string, Json> = { limit: chance.pick([0, 1, 5, 20]) }
    if (chance.is(0.4)) body.offset = chance.pick([0, 2, 10, 60])
    if (chance.is(0.5)) body.fields = chance.pick([['id'], ['id', 'maker.name'], ['title', 'price']])
    if (chance.is(0.4)) body.filter = makeFilter(chance)
    if (chance.is(0.4)) body.sort = Array.from({ length: chance.between(1, 2) }, () => chance.pick(sorts))
    if (chance.is(0.15)) body.ids = Array.from({ length: chance.between(1, 5) }, id)
    if (chance.is(0.1)) body.retrieveVectors = true
    return { path: `/indexes/${uid}/documents/fetch`, body }
  })
}
