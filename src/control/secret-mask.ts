/** Secrets in answers: a few letters, so that their owner knows which one it is (M-G6). */
export function maskSecret(secret: string): string {
  if (secret.startsWith('Bearer ')) return `Bearer ${maskSecret(secret.slice('Bearer '.length))}`
  const letters = [...secret]
  if (letters.length < 10) return 'XXX...'
  if (letters.length < 20) return `${letters.slice(0, 2).join('')}XXXX...`
  if (letters.length < 30) return `${letters.slice(0, 3).join('')}XXXXX...`
  return `${letters.slice(0, 5).join('')}XXXXXX...`
}
