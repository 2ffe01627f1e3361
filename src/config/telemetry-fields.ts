/** Whom this program tells what it does: fields of the section `telemetry`. */
import { decimal, field, optional, url } from './field.ts'

export const telemetryFields = {
  otlpUrl: field(optional(url('http:', 'https:')), null, {
    env: ['FLAPJACK_TELEMETRY_OTLP_URL'],
    about:
      'OpenTelemetry collector that takes traces by OTLP over HTTP, such as `http://127.0.0.1:4318`: a span for each request, for each part of it that a node is asked, and for each delivery to a node. Neither queries nor documents nor keys stand in them. Without one nothing is traced.',
  }),
  sampleRate: field(decimal(0, 1), 0.1, {
    env: ['FLAPJACK_TELEMETRY_SAMPLE_RATE'],
    about: 'Part of the requests and deliveries that are traced. Requests with a `traceparent` are traced as it says.',
  }),
} as const
