import { ExportResultCode } from '@opentelemetry/core';
import { InMemorySpanExporter, type SpanExporter } from '@opentelemetry/sdk-trace';
import { expect, it, vi } from 'vitest';

import { otelSettings } from './otel-env.ts';
import { Tracing } from './tracing.ts';

const NEVER = new AbortController().signal;

/** Unlike its base class, keeps its spans after shutdown. */
class KeepingExporter extends InMemorySpanExporter {
  override async shutdown(): Promise<void> {}
}

function tracingWith(env: Record<string, string> = {}): { tracing: Tracing; exporter: KeepingExporter } {
  const exporter = new KeepingExporter();
  return { exporter, tracing: new Tracing({ exporter, settings: otelSettings(env), version: '1.2.3' }) };
}

it('uses the target as service name and adds resource attributes from the environment', async () => {
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

it('reuses the tracer of a target', () => {
  const { tracing } = tracingWith();
  expect(tracing.tracerFor('store-1')).toBe(tracing.tracerFor('store-1'));
});

it('forgets a target but still exports its open spans', async () => {
  const { tracing, exporter } = tracingWith();
  const tracer = tracing.tracerFor('store-1');
  const span = tracer.startSpan('one');
  tracing.forget('store-1');
  expect(tracing.tracerFor('store-1')).not.toBe(tracer);
  span.end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
});

it('can flush repeatedly', async () => {
  const { tracing, exporter } = tracingWith();
  const tracer = tracing.tracerFor('store-1');
  tracer.startSpan('one').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
  tracer.startSpan('two').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(2);
});

it('generates trace IDs without an exporter', async () => {
  const tracing = new Tracing({ settings: otelSettings({}), version: '1.2.3' });
  const { traceId } = tracing.tracerFor('store-1').startSpan('one').spanContext();
  expect(traceId).toMatch(/^(?!0{32})[\da-f]{32}$/);
  await tracing.shutdown(NEVER);
});

it('exports nothing with the always_off sampler but still generates trace IDs', async () => {
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

it('applies span limits', async () => {
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
    const shuttingDown = tracing.shutdown(deadline.signal);
    deadline.abort();
    await shuttingDown;
    expect(shutdown).toHaveBeenCalledOnce();
  },
);
