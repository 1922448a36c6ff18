import { ExportResultCode } from '@opentelemetry/core';
import { InMemorySpanExporter, type SpanExporter } from '@opentelemetry/sdk-trace';
import { expect, it, vi } from 'vitest';

import { otelSettings } from './otel-env.ts';
import { Tracing } from './tracing.ts';

const NEVER = new AbortController().signal;

/** Keeps its spans when it is shut down, unlike the one that it builds on. */
class KeepingExporter extends InMemorySpanExporter {
  override async shutdown(): Promise<void> {}
}

function tracingWith(env: Record<string, string> = {}): { tracing: Tracing; exporter: KeepingExporter } {
  const exporter = new KeepingExporter();
  return { exporter, tracing: new Tracing({ exporter, settings: otelSettings(env), version: '1.2.3' }) };
}

it('names the service after the target, and adds what the environment says', async () => {
  const { tracing, exporter } = tracingWith({
    OTEL_RESOURCE_ATTRIBUTES: 'service.name=other,deployment.environment=prod',
    OTEL_SERVICE_NAME: 'other',
  });
  tracing.tracerFor('store-1').startSpan('one').end();
  tracing.tracerFor('store-2').startSpan('two').end();
  await tracing.shutdown(NEVER);

  const spans = exporter.getFinishedSpans();
  expect(spans.map(({ name, resource }) => [name, resource.attributes['service.name']])).toEqual([
    ['one', 'store-1'],
    ['two', 'store-2'],
  ]);
  expect(spans[0]?.resource.attributes).toMatchObject({
    'deployment.environment': 'prod',
    'telemetry.sdk.language': 'nodejs',
  });
  expect(spans[0]?.instrumentationScope).toMatchObject({ name: 'storage-probe', version: '1.2.3' });
});

it('has one tracer for a target', () => {
  const { tracing } = tracingWith();
  expect(tracing.tracerFor('store-1')).toBe(tracing.tracerFor('store-1'));
});

it('forgets a target, and still delivers what it began', async () => {
  const { tracing, exporter } = tracingWith();
  const tracer = tracing.tracerFor('store-1');
  const span = tracer.startSpan('one');
  tracing.forget('store-1');
  expect(tracing.tracerFor('store-1')).not.toBe(tracer);
  span.end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
});

it('flushes without an end to it', async () => {
  const { tracing, exporter } = tracingWith();
  const tracer = tracing.tracerFor('store-1');
  tracer.startSpan('one').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
  tracer.startSpan('two').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(2);
});

it('gives traces an id even when nothing is exported', async () => {
  const tracing = new Tracing({ settings: otelSettings({}), version: '1.2.3' });
  const { traceId } = tracing.tracerFor('store-1').startSpan('one').spanContext();
  expect(traceId).toMatch(/^(?!0{32})[\da-f]{32}$/);
  await tracing.shutdown(NEVER);
});

it('exports nothing when the sampler is off, and gives traces an id all the same', async () => {
  const { tracing, exporter } = tracingWith({ OTEL_TRACES_SAMPLER: 'always_off' });
  const span = tracing.tracerFor('store-1').startSpan('one');
  span.end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()).toEqual([]);
  expect(span.spanContext()).toMatchObject({
    traceId: expect.stringMatching(/^(?!0{32})[\da-f]{32}$/) as string,
    traceFlags: 0,
  });
});

it('keeps to the limits of a span', async () => {
  const { tracing, exporter } = tracingWith({
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '1',
    OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '3',
  });
  tracing
    .tracerFor('store-1')
    .startSpan('one', { attributes: { a: 'long value', b: 'b' } })
    .end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()[0]?.attributes).toEqual({ a: 'lon' });
});

it.each([
  { name: 'export', exporter: { export: () => undefined } },
  {
    name: 'flush',
    exporter: {
      export: (_spans, done) => {
        done({ code: ExportResultCode.SUCCESS });
      },
      forceFlush: () => new Promise<void>(() => undefined),
    },
  },
] satisfies { name: string; exporter: Partial<SpanExporter> }[])(
  'gives up at the deadline when an exporter hangs in $name',
  async ({ exporter }) => {
    const shutdown = vi.fn<() => Promise<void>>(async () => undefined);
    const tracing = new Tracing({
      exporter: { ...exporter, shutdown },
      settings: otelSettings({}),
      version: '1.2.3',
    });
    tracing.tracerFor('store-1').startSpan('one').end();
    const deadline = new AbortController();
    const ended = tracing.shutdown(deadline.signal);
    deadline.abort();
    await ended;
    expect(shutdown).toHaveBeenCalledOnce();
  },
);
