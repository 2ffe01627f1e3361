/**
 * Spans sent to a collector by OTLP over HTTP. Takes a third of a second to load, so it is imported only where a collector is
 * configured. Spans wait in memory, 2,048 at most, and are sent every few seconds; those that a collector does not take are
 * lost, and requests never wait for it.
 */
import {
  type Context,
  DiagLogLevel,
  diag,
  isSpanContextValid,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Clock } from './clock.ts'
import type { Span, Traces } from './traces.ts'

export interface OtlpTracesOptions {
  /** Of the collector; without a path, `/v1/traces` is added. */
  readonly url: string
  /** Part of the traces that begin here, 0 to 1. Those of callers are followed as the caller says. */
  readonly sampleRate: number
  readonly version: string
  readonly clock: Pick<Clock, 'now'>
  readonly onTrouble: (message: string) => void
}

export function openOtlpTraces({ url, sampleRate, version, clock, onTrouble }: OtlpTracesOptions): Traces {
  diag.setLogger(
    { error: onTrouble, warn: onTrouble, info() {}, debug() {}, verbose() {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'flapjack', 'service.version': version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRate) }),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: tracesUrl(url) }) })],
  })
  const tracer = provider.getTracer('flapjack', version)
  return {
    begin(name, attributes, traceparent) {
      const parent = parentOf(traceparent)
      return new OpenSpan(tracer, tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent))
    },
    record(name, tookMs, attributes) {
      const endTime = clock.now()
      tracer.startSpan(name, { attributes, startTime: endTime - tookMs }, ROOT_CONTEXT).end(endTime)
    },
    close: () => provider.shutdown().catch((error: unknown) => onTrouble(String(error))),
  }
}

function tracesUrl(url: string): string {
  const at = new URL(url)
  if (at.pathname === '/') at.pathname = '/v1/traces'
  return at.href
}

const traceparentForm = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

function parentOf(traceparent: string | undefined): Context {
  const match = traceparent === undefined ? null : traceparentForm.exec(traceparent)
  if (match === null) return ROOT_CONTEXT
  const [, traceId = '', spanId = '', flags = ''] = match
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
}

class OpenSpan implements Span {
  readonly #tracer: Tracer
  readonly #span: OtelSpan

  constructor(tracer: Tracer, span: OtelSpan) {
    this.#tracer = tracer
    this.#span = span
  }

  child(name: string, attributes: Parameters<Span['child']>[1]): Span {
    const parent = trace.setSpan(ROOT_CONTEXT, this.#span)
    return new OpenSpan(this.#tracer, this.#tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent))
  }

  rename(name: string): void {
    this.#span.updateName(name)
  }

  set(attributes: Parameters<Span['set']>[0]): void {
    this.#span.setAttributes(attributes)
  }

  fail(reason: string): void {
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: reason })
  }

  end(): void {
    this.#span.end()
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext()
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
  }
}
