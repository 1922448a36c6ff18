import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';

import { ConsoleExporter } from './console-exporter.ts';

it("writes each span as a JSON document, in the format of OpenTelemetry Python's console exporter", () => {
  const written: string[] = [];
  const exporter = new ConsoleExporter((text) => written.push(text));
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'my-minio' }),
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('test');
  const startTime = new Date('2026-11-22T12:00:00.123Z');
  const endTime = new Date('2026-11-22T12:00:00.456Z');

  const root = tracer.startSpan('storage probe', { startTime });
  const child = tracer.startSpan(
    'S3.PutObject',
    { kind: SpanKind.CLIENT, startTime, attributes: { sizes: [1, 2] } },
    trace.setSpan(ROOT_CONTEXT, root),
  );
  child.addEvent('sent', { bytes: 1 }, endTime);
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'no "room"\n' });
  child.end(endTime);
  root.end(endTime);

  const { traceId, spanId } = root.spanContext();
  const [first, second] = written.map((text) => JSON.parse(text) as unknown);
  expect(first).toEqual({
    name: 'S3.PutObject',
    context: { trace_id: `0x${traceId}`, span_id: `0x${child.spanContext().spanId}`, trace_state: '[]' },
    kind: 'SpanKind.CLIENT',
    parent_id: `0x${spanId}`,
    start_time: '2026-11-22T12:00:00.123000000Z',
    end_time: '2026-11-22T12:00:00.456000000Z',
    status: { status_code: 'ERROR', description: 'no "room"\n' },
    attributes: { sizes: [1, 2] },
    events: [{ name: 'sent', timestamp: '2026-11-22T12:00:00.456000000Z', attributes: { bytes: 1 } }],
    links: [],
    resource: { attributes: { 'service.name': 'my-minio' } },
  });
  expect(second).toMatchObject({
    name: 'storage probe',
    kind: 'SpanKind.INTERNAL',
    parent_id: null,
    status: { status_code: 'UNSET' },
    events: [],
  });
  expect(written.every((text) => text.endsWith('}\n'))).toBe(true);
});
