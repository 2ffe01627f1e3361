/**
 * Objects in a bucket of S3 or of what speaks like it. Small objects go in one request, others in parts (P-29), several at
 * once; every request carries the SHA-256 of its body, which the store checks. The client retries what is safe to repeat.
 *
 * The client's library is loaded here and nowhere else: about 0.15 s of CPU time.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { assert } from '../../lib/assert.ts'
import { once } from '../../lib/byte-stream.ts'
import { isObjectName, ObjectMissing, type ObjectStore, ObjectsUnavailable } from './object-store.ts'

export interface S3Options {
  readonly bucket: string
  /** Before every name, without a `/` at its ends; '' = none. */
  readonly prefix: string
  /** Default: Amazon's of the region. */
  readonly endpoint: string | null
  readonly region: string
  /** null = as the client finds them: the environment, profiles, the machine's role. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null
  /** Bytes of one part; 5 MiB or more. Default 16 MiB. */
  readonly partBytes?: number
}

const partBytesDefault = 16 * 2 ** 20
/** What S3 takes of one upload. */
const partsMax = 10_000
const partsAtOnce = 4
const attemptsMax = 5
const connectMsMax = 5_000
/** Without a byte, and until an answer begins: a part of `partBytes` goes up meanwhile. */
const silentMsMax = 60_000
const requestMsMax = 300_000

export function openS3Objects(options: S3Options): ObjectStore {
  const { bucket: Bucket, prefix, endpoint, region, credentials, partBytes = partBytesDefault } = options
  const client = new S3Client({
    region,
    ...(endpoint === null ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === null ? {} : { credentials }),
    maxAttempts: attemptsMax,
    requestHandler: {
      ...{ connectionTimeout: connectMsMax, socketTimeout: silentMsMax, requestTimeout: requestMsMax },
      // Else it is only warned about.
      throwOnRequestTimeout: true,
    },
    // Each body has the checksum that we give it; other stores do not know those that the client would choose.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const before = prefix === '' ? '' : `${prefix}/`
  const place = `s3://${Bucket}${prefix === '' ? '' : `/${prefix}`}`
  const keyOf = (name: string) => {
    assert(isObjectName(name), `\`${name}\` names no object`)
    return `${before}${name}`
  }
  const asked = async <T>(what: string, ask: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    try {
      return await ask()
    } catch (error) {
      if (signal?.aborted === true) throw error
      if (isAbsent(error)) throw new ObjectMissing(`there is no ${what} in ${place}`)
      throw new ObjectsUnavailable(`${place} refuses ${what}: ${reasonOf(error)}`, { cause: error })
    }
  }

  async function putParts(
    name: string,
    first: Uint8Array,
    rest: AsyncGenerator<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const Key = keyOf(name)
    const upload = { Bucket, Key }
    const options = signal === undefined ? {} : { abortSignal: signal }
    const begin = () =>
      client.send(new CreateMultipartUploadCommand({ ...upload, ChecksumAlgorithm: 'SHA256' }), options)
    const { UploadId } = await asked(name, begin, signal)
    const parts: { readonly PartNumber: number; readonly ETag: string | undefined; readonly ChecksumSHA256: string }[] =
      []
    const open = new Set<Promise<void>>()
    let byteCount = 0
    const send = async (body: Uint8Array, PartNumber: number) => {
      const ChecksumSHA256 = await sha256(body)
      const part = { ...upload, UploadId, PartNumber, Body: body, ChecksumSHA256 }
      const { ETag } = await asked(name, () => client.send(new UploadPartCommand(part), options), signal)
      parts.push({ PartNumber, ETag, ChecksumSHA256 })
    }
    try {
      let number = 0
      for (let body: Uint8Array | undefined = first; body !== undefined; body = (await rest.next()).value) {
        number += 1
        if (number > partsMax) throw new ObjectsUnavailable(`${name} has more than ${partsMax} parts`)
        byteCount += body.byteLength
        const sending: Promise<void> = send(body, number).finally(() => open.delete(sending))
        // A failure shows where it is waited for.
        sending.catch(() => undefined)
        open.add(sending)
        if (open.size >= partsAtOnce) await Promise.race(open)
      }
      await Promise.all(open)
      if (parts.length < number) throw new ObjectsUnavailable(`a part of ${name} was refused`)
      const Parts = parts.sort((a, b) => a.PartNumber - b.PartNumber)
      const whole = new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } })
      await asked(name, () => client.send(whole, options), signal)
      return byteCount
    } catch (error) {
      await Promise.allSettled(open)
      await client.send(new AbortMultipartUploadCommand({ ...upload, UploadId })).catch(() => undefined)
      throw error
    }
  }

  return {
    place,
    async put(name, bytes, { byteCount: expected = 0, signal } = {}) {
      const sizes = Math.max(partBytes, Math.ceil(expected / partsMax))
      const pieces = piecesOf(bytes instanceof Uint8Array ? once(bytes) : bytes, sizes)
      try {
        const first = (await pieces.next()).value ?? Buffer.of()
        const second = await pieces.next()
        if (second.done !== true) {
          return { name, byteCount: await putParts(name, first, behind(second.value, pieces), signal) }
        }
        const put = { Bucket, Key: keyOf(name), Body: first, ContentLength: first.byteLength }
        const command = new PutObjectCommand({ ...put, ChecksumSHA256: await sha256(first) })
        await asked(name, () => client.send(command, signal === undefined ? {} : { abortSignal: signal }), signal)
        return { name, byteCount: first.byteLength }
      } finally {
        await pieces.return(undefined)
      }
    },
    async *get(name, { signal } = {}) {
      const get = new GetObjectCommand({ Bucket, Key: keyOf(name) })
      const { Body } = await asked(
        name,
        () => client.send(get, signal === undefined ? {} : { abortSignal: signal }),
        signal,
      )
      assert(Body !== undefined && Symbol.asyncIterator in Body, 'an object has a body')
      try {
        for await (const chunk of Body) yield chunk as Uint8Array
      } catch (error) {
        if (signal?.aborted === true) throw error
        throw new ObjectsUnavailable(`${place} breaks off in ${name}: ${reasonOf(error)}`, { cause: error })
      }
    },
    async find(name) {
      try {
        const head = () => client.send(new HeadObjectCommand({ Bucket, Key: keyOf(name) }))
        const { ContentLength } = await asked(name, head)
        return { name, byteCount: ContentLength ?? 0 }
      } catch (error) {
        if (error instanceof ObjectMissing) return undefined
        throw error
      }
    },
    async *list(wanted) {
      for (let token: string | undefined, isMore = true; isMore; ) {
        const page = { Bucket, Prefix: `${before}${wanted}`, ContinuationToken: token }
        const found = await asked('the list of objects', () => client.send(new ListObjectsV2Command(page)))
        for (const { Key, Size } of found.Contents ?? []) {
          if (Key !== undefined) yield { name: Key.slice(before.length), byteCount: Size ?? 0 }
        }
        token = found.NextContinuationToken
        isMore = found.IsTruncated === true && token !== undefined
      }
    },
    async delete(name) {
      await asked(name, () => client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(name) })))
    },
    presign(name, method, seconds) {
      const object = { Bucket, Key: keyOf(name) }
      const command = method === 'GET' ? new GetObjectCommand(object) : new PutObjectCommand(object)
      return getSignedUrl(client, command, { expiresIn: seconds })
    },
    close: () => client.destroy(),
  }
}

/** The same bytes in pieces of one size; the last one is smaller. */
async function* piecesOf(bytes: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array, undefined> {
  let waiting: Uint8Array[] = []
  let count = 0
  for await (const chunk of bytes) {
    let rest = chunk
    while (count + rest.byteLength >= size) {
      waiting.push(rest.subarray(0, size - count))
      yield Buffer.concat(waiting)
      rest = rest.subarray(size - count)
      waiting = []
      count = 0
    }
    if (rest.byteLength > 0) waiting.push(rest)
    count += rest.byteLength
  }
  if (count > 0) yield Buffer.concat(waiting)
}

async function* behind(first: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

/** Base64, computed beside the event loop. */
async function sha256(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('base64')
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && ['NoSuchKey', 'NotFound'].includes(error.name)
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' || error.message === 'UnknownError' ? error.name : error.message
}
