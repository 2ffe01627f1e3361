/**
 * Compressed sets of 32-bit unsigned integers, in the manner of Roaring bitmaps, in plain memory that the collector frees
 * (a WASM port needs explicit disposal and a heap per worker).
 *
 * Operations never change their operands unless their name says so (`add`, `remove`, `addMany`).
 */

export interface BitmapReader {
  readonly size: number
  has(value: number): boolean
}

export declare class Bitmap implements BitmapReader {
  static of(...values: number[]): Bitmap
  static from(values: Iterable<number>): Bitmap
  /** `from` inclusive, `to` exclusive. */
  static range(from: number, to: number): Bitmap
  static union(bitmaps: readonly Bitmap[]): Bitmap
  /** Reads what `serialize` wrote; may keep views of `bytes`. */
  static deserialize(bytes: Uint8Array): Bitmap
  serialize(): Uint8Array
  clone(): Bitmap
  get size(): number
  isEmpty(): boolean
  has(value: number): boolean
  add(value: number): void
  remove(value: number): void
  addMany(values: Iterable<number>): void
  and(other: Bitmap): Bitmap
  or(other: Bitmap): Bitmap
  andNot(other: Bitmap): Bitmap
  xor(other: Bitmap): Bitmap
  andSize(other: Bitmap): number
  intersects(other: Bitmap): boolean
  equals(other: Bitmap): boolean
  min(): number | undefined
  max(): number | undefined
  /** How many values are below or equal to `value`. */
  rank(value: number): number
  [Symbol.iterator](): IterableIterator<number>
  toArray(): number[]
}
