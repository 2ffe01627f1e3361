/** Keywords, symbols and reserved words of edit functions. */

import type { Token } from './lexer.ts'
import { displayText } from './value-text.ts'

export const keywords: ReadonlySet<string> = new Set(
  `true false let const if else switch do while until loop for in fn private continue break return throw try catch _`.split(
    ' ',
  ),
)

/** Longest first. `!in` is told apart by the lexer. */
export const symbols: readonly string[] = `
  **= <<= >>= ..= ... === !== ::< # {
  () (* *) #{ #! += ++ -= -> -- *= ** /= .. == => :: := :; <= <- << <| >= >> != !. || |= |> && &= ^= %= ?. ?? ?[
  { } ( ) [ ] + - * / : ; , . < > = ! | & ^ % ~ @ $ ? #`
  .replace('# {', '#\u00a0{')
  .trim()
  .split(/[ \n]+/)
  .map((symbol) => symbol.replace('\u00a0', ' '))

const reserved: ReadonlySet<string> = new Set(
  `as use case async public package super var protected spawn shared is sync curry static default is_shared print this
  is_def_var thread is_def_fn yield new call match eval await null debug type_of with void import nil export module Fn go
  goto # === !== #! ++ ~ !. := ... @ <- -- <| $ -> |> ? ::< :; (* *)`.split(/\s+/),
)

export const isReserved = (text: string): boolean => reserved.has(text)

/** Reserved words that may be called as functions; those of the second set also as methods. */
export const callableWords: ReadonlySet<string> = new Set(
  'curry is_shared print is_def_var is_def_fn call eval debug type_of Fn'.split(' '),
)
export const methodWords: ReadonlySet<string> = new Set('curry is_shared call type_of'.split(' '))

/** Symbols of other languages. */
export const lateMistakes: ReadonlyMap<string, string> = new Map([
  ['===', "'===' is not a valid operator. This is not JavaScript! Should it be '=='?"],
  ['!==', "'!==' is not a valid operator. This is not JavaScript! Should it be '!='?"],
  ['->', "'->' is not a valid symbol. This is not C or C++!"],
  ['<-', "'<-' is not a valid symbol. This is not Go! Should it be '<='?"],
  [':=', "':=' is not a valid assignment operator. This is not Go or Pascal! Should it be simply '='?"],
  [':;', "':;' is not a valid symbol. Should it be '::'?"],
  ['::<', "'::<>' is not a valid symbol. This is not Rust! Should it be '::'?"],
  ['(*', "'(* .. *)' is not a valid comment format. This is not Pascal! Should it be '/* .. */'?"],
  ['*)', "'(* .. *)' is not a valid comment format. This is not Pascal! Should it be '/* .. */'?"],
  ['# {', "'#' is not a valid symbol. Should it be '#{'?"],
])

const beforeSign: ReadonlySet<string> = new Set(
  `; : , ?? .. ..= { ( [ + += - -= * *= / /= % %= ** **= << <<= >> >>= = == != < > ! <= >= | & if while until in !in &&
  &= || |= ^ ^= return throw ?[`.split(/\s+/),
)

/** After such a token a minus is a sign. */
export const mayPrecedeSign = (token: Token): boolean =>
  token.kind === 'mistake' || (token.kind === 'symbol' && beforeSign.has(token.text))

/** As messages quote it. */
export function tokenText(token: Token): string {
  switch (token.kind) {
    case 'symbol':
    case 'identifier':
    case 'reserved':
    case 'character':
      return token.text
    case 'integer':
    case 'float':
      return displayText(token.value)
    case 'string':
      return `"${token.text}"`
    case 'interpolated':
      return 'string'
    case 'comment':
      return '//'
    case 'mistake':
      return token.mistake.message
    case 'end':
      return '{EOF}'
  }
}

const isIdentifier = (text: string): boolean => /^_*[A-Za-z][A-Za-z0-9_]*$/.test(text)

export const isFunctionName = (text: string): boolean => isIdentifier(text) && !isReserved(text) && !keywords.has(text)

/** Message of a reserved word or symbol. */
export const reservedText = (text: string): string =>
  `'${text}' is a reserved ${isIdentifier(text) ? 'keyword' : 'symbol'}`
