import { diag } from '@opentelemetry/api';
import { ExportResultCode } from '@opentelemetry/core';
import { InMemorySpanExporter, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { startTracing, type Tracing } from './tracing.ts';

const NEVER = new AbortController().signal;
const STORE_1 = { namespace: 'storage', name: 'store-1' };

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Unlike its base class, keeps its spans after shutdown. */
class KeepingExporter extends InMemorySpanExporter {
  override async shutdown(): Promise<void> {}
}

async function tracingWith(
  env: Record<string, string> = {},
): Promise<{ tracing: Tracing; exporter: KeepingExporter; diagnostics: string[] }> {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const exporter = new KeepingExporter();
  const diagnostics: string[] = [];
  const tracing = await startTracing({
    exporter,
    version: '1.2.3',
    onDiagnostic: (level, message) => diagnostics.push(`${level}: ${message}`),
  });
  return { exporter, tracing, diagnostics };
}

async function resourceWith(env: Record<string, string>): Promise<ReadableSpan['resource']['attributes']> {
  const { tracing, exporter } = await tracingWith(env);
  tracing.tracerFor(STORE_1).startSpan('one').end();
  await tracing.shutdown(NEVER);
  return exporter.getFinishedSpans()[0]?.resource.attributes ?? {};
}

describe('the resource of a span', () => {
  it("has the target as service and its probe's namespace as service namespace", async () => {
    const { tracing, exporter } = await tracingWith({ OTEL_SERVICE_NAME: 'other' });
    tracing.tracerFor(STORE_1).startSpan('one').end();
    tracing.tracerFor({ namespace: 'archive', name: 'store-2' }).startSpan('two').end();
    tracing.tracerFor(STORE_1).startSpan('three').end();
    await tracing.shutdown(NEVER);

    const spans = exporter.getFinishedSpans();
    expect(
      spans.map(({ name, resource: { attributes } }) => [
        name,
        attributes['service.name'],
        attributes['service.namespace'],
      ]),
    ).toEqual([
      ['one', 'store-1', 'storage'],
      ['two', 'store-2', 'archive'],
      ['three', 'store-1', 'storage'],
    ]);
    // OTLP groups spans by the identity of their resource.
    expect(spans[2]?.resource).toBe(spans[0]?.resource);
    expect(spans[0]?.instrumentationScope).toMatchObject({ name: 'storage-probe', version: '1.2.3' });
  });

  it('describes the prober', async () => {
    expect(await resourceWith({})).toMatchObject({
      'service.version': '1.2.3',
      'service.instance.id': expect.stringMatching(/^[\da-f-]{36}$/) as string,
      'telemetry.sdk.language': 'nodejs',
    });
  });

  it('does not contain the command line, which may contain credentials', async () => {
    const keys = Object.keys(await resourceWith({ OTEL_NODE_RESOURCE_DETECTORS: 'all' }));
    expect(keys.filter((key) => key.startsWith('process.'))).toEqual([]);
  });

  it('has the attributes of OTEL_RESOURCE_ATTRIBUTES, except service.name', async () => {
    const attributes = await resourceWith({
      OTEL_RESOURCE_ATTRIBUTES:
        'service.name=other,service.namespace=mine,service.instance.id=pod-1,team=storage%20sre',
    });
    expect(attributes).toMatchObject({
      'service.name': 'store-1',
      'service.namespace': 'mine',
      'service.instance.id': 'pod-1',
      team: 'storage sre',
    });
  });
});

it('reuses the tracer of a target', async () => {
  const { tracing } = await tracingWith();
  expect(tracing.tracerFor(STORE_1)).toBe(tracing.tracerFor(STORE_1));
});

it('forgets a target but still exports its open spans', async () => {
  const { tracing, exporter } = await tracingWith();
  const tracer = tracing.tracerFor(STORE_1);
  const span = tracer.startSpan('one');
  tracing.forget(STORE_1);
  expect(tracing.tracerFor(STORE_1)).not.toBe(tracer);
  span.end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
});

it('can flush repeatedly', async () => {
  const { tracing, exporter } = await tracingWith();
  const tracer = tracing.tracerFor(STORE_1);
  tracer.startSpan('one').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(1);
  tracer.startSpan('two').end();
  await tracing.flush(NEVER);
  expect(exporter.getFinishedSpans()).toHaveLength(2);
});

it('generates trace IDs without an exporter', async () => {
  const tracing = await startTracing({
    exporter: undefined,
    version: '1.2.3',
    onDiagnostic: () => undefined,
  });
  const { traceId } = tracing.tracerFor(STORE_1).startSpan('one').spanContext();
  expect(traceId).toMatch(/^(?!0{32})[\da-f]{32}$/);
  await tracing.shutdown(NEVER);
});

it('exports nothing with the always_off sampler but still generates trace IDs', async () => {
  const { tracing, exporter } = await tracingWith({ OTEL_TRACES_SAMPLER: 'always_off' });
  const span = tracing.tracerFor(STORE_1).startSpan('one');
  span.end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()).toEqual([]);
  expect(span.spanContext()).toMatchObject({
    traceId: expect.stringMatching(/^(?!0{32})[\da-f]{32}$/) as string,
    traceFlags: 0,
  });
});

it('applies span limits', async () => {
  const { tracing, exporter } = await tracingWith({
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '1',
    OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '3',
  });
  tracing
    .tracerFor(STORE_1)
    .startSpan('one', { attributes: { a: 'long value', b: 'b' } })
    .end();
  await tracing.shutdown(NEVER);
  expect(exporter.getFinishedSpans()[0]?.attributes).toEqual({ a: 'lon' });
});

it("passes OpenTelemetry's own messages on, also if OTEL_LOG_LEVEL is set", async () => {
  const { tracing, diagnostics } = await tracingWith({
    OTEL_LOG_LEVEL: 'info',
    OTEL_TRACES_SAMPLER: 'sometimes',
    OTEL_BSP_SCHEDULE_DELAY: '5s',
    OTEL_RESOURCE_ATTRIBUTES: 'team=sre,nonsense',
  });
  diag.info('a message', { secretKey: 'hidden' }, 42);
  await tracing.shutdown(NEVER);
  expect(diagnostics).toEqual([
    'warn: OTEL_RESOURCE_ATTRIBUTES is ignored because a pair is malformed; accepted: key=value,key=value, with "%", "," and "=" percent-encoded',
    expect.stringContaining('OTEL_BSP_SCHEDULE_DELAY'),
    expect.stringContaining('OTEL_TRACES_SAMPLER'),
    'info: a message 42',
  ]);
});

it('serves 10,000 targets with one provider', async () => {
  const { tracing, exporter } = await tracingWith({ OTEL_BSP_MAX_QUEUE_SIZE: '20000' });
  for (let index = 0; index < 10_000; index += 1)
    tracing
      .tracerFor({ namespace: 'storage', name: `store-${index}` })
      .startSpan('run')
      .end();
  await tracing.shutdown(NEVER);
  const names = exporter.getFinishedSpans().map(({ resource }) => resource.attributes['service.name']);
  expect(new Set(names).size).toBe(10_000);
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
    const shutdown = vi.fn<() => Promise<void>>(() => new Promise(() => undefined));
    const abort = vi.fn<() => void>();
    const tracing = await startTracing({
      exporter: { ...exporter, shutdown, abort },
      version: '1.2.3',
      onDiagnostic: () => undefined,
    });
    tracing.tracerFor(STORE_1).startSpan('one').end();
    const deadline = new AbortController();
    const shuttingDown = tracing.shutdown(deadline.signal);
    deadline.abort();
    await shuttingDown;
    expect(abort).toHaveBeenCalledOnce();
  },
);
