/** Spans of work, for whoever collects them (C-54). Absent wherever nobody does. */

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

export interface Span {
  /** A part of this one that asks somebody else. */
  child(name: string, attributes: SpanAttributes): Span
  rename(name: string): void
  set(attributes: SpanAttributes): void
  fail(reason: string): void
  end(): void
  /** Of a request that is a part of this one (W3C Trace Context). */
  readonly traceparent: string
}

export interface Traces {
  /** @param traceparent  of whoever asked, if it traces. What is none is ignored. */
  begin(name: string, attributes: SpanAttributes, traceparent?: string): Span
  /** Work that has ended now. */
  record(name: string, tookMs: number, attributes: SpanAttributes): void
  /** Sends what is left. */
  close(): Promise<void>
}
