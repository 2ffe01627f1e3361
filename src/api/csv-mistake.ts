/** A CSV payload is malformed; the message is the reference's, without its frame (M-B5, 14). */
export class CsvMistake extends Error {
  override readonly name = 'CsvMistake'
}
