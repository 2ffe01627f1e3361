/** Decoded bitmaps of recent searches, bounded in bytes. One per thread; shared by its indexes. */
import { LRUCache } from 'lru-cache'
import type { Bitmap } from '../lib/bitmap.ts'

export class BitmapCache {
  readonly #bitmaps: LRUCache<string, Bitmap>

  constructor(byteCountMax: number) {
    this.#bitmaps = new LRUCache({
      maxSize: byteCountMax,
      sizeCalculation: (bitmap, key) => bitmap.byteCount + key.length * 2 + 100,
    })
  }

  clear(): void {
    this.#bitmaps.clear()
  }

  get(key: string, read: () => Bitmap): Bitmap {
    const known = this.#bitmaps.get(key)
    if (known !== undefined) return known
    const bitmap = read()
    this.#bitmaps.set(key, bitmap)
    return bitmap
  }
}
