import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, hrTimeToTimeStamp } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

/**
 * Prints each span as a JSON document, in the format of OpenTelemetry Python's console exporter. OpenTelemetry JS has a
 * console exporter too, but it always writes to stdout, where the spans would mix with the output of `-o json`.
 */
export class ConsoleExporter implements SpanExporter {
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    for (const span of spans) this.#write(`${JSON.stringify(toDocument(span), undefined, 4)}\n`);
    done({ code: ExportResultCode.SUCCESS });
  }

  async shutdown(): Promise<void> {}
}

function toDocument(span: ReadableSpan): object {
  const { traceId, spanId } = span.spanContext();
  return {
    name: span.name,
    context: { trace_id: `0x${traceId}`, span_id: `0x${spanId}`, trace_state: '[]' },
    kind: `SpanKind.${SpanKind[span.kind]}`,
    parent_id: span.parentSpanContext === undefined ? null : `0x${span.parentSpanContext.spanId}`,
    start_time: hrTimeToTimeStamp(span.startTime),
    end_time: hrTimeToTimeStamp(span.endTime),
    status: {
      status_code: SpanStatusCode[span.status.code],
      ...(span.status.message !== undefined && { description: span.status.message }),
    },
    attributes: span.attributes,
    events: span.events.map(({ name, time, attributes }) => ({
      name,
      timestamp: hrTimeToTimeStamp(time),
      attributes: attributes ?? {},
    })),
    links: span.links,
    resource: { attributes: span.resource.attributes },
  };
}
