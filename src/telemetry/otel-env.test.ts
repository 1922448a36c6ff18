import { type Context, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { SamplingDecision } from '@opentelemetry/sdk-trace';
import { describe, expect, it } from 'vitest';

import { otelSettings, type OtelSettings } from './otel-env.ts';

const LOW_ID = '00000000000000000000000000000001';
const HIGH_ID = 'ffffffff000000000000000000000000';

const SAMPLERS =
  'always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio';

function isSampled({ sampler }: OtelSettings, traceId: string, context: Context = ROOT_CONTEXT): boolean {
  const { decision } = sampler.shouldSample(context, traceId, 'storage probe', SpanKind.INTERNAL, {}, []);
  return decision === SamplingDecision.RECORD_AND_SAMPLED;
}

it("uses the specification's defaults, and gRPC", () => {
  const settings = otelSettings({});
  expect(settings).toMatchObject({
    disabled: false,
    protocol: 'grpc',
    resourceAttributes: {},
    limits: {},
    batch: {
      scheduledDelayMillis: 5_000,
      maxQueueSize: 2_048,
      maxExportBatchSize: 512,
      exportTimeoutMillis: 30_000,
    },
    warnings: [],
  });
  expect(settings).not.toHaveProperty('exporter');
  expect(settings).not.toHaveProperty('otlpEndpoint');
  expect(isSampled(settings, HIGH_ID)).toBe(true);
});

describe('valid values', () => {
  it.each<{ env: Record<string, string>; want: object }>([
    { env: { OTEL_SDK_DISABLED: 'true' }, want: { disabled: true } },
    { env: { OTEL_SDK_DISABLED: 'TRUE' }, want: { disabled: true } },
    { env: { OTEL_SDK_DISABLED: 'yes' }, want: { disabled: false } },
    { env: { OTEL_TRACES_EXPORTER: ' Console ' }, want: { exporter: 'console' } },
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:4317' }, want: { otlpEndpoint: 'http://a:4317' } },
    {
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:4317',
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://b:4317',
      },
      want: { otlpEndpoint: 'http://b:4317' },
    },
    { env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }, want: { protocol: 'http/json' } },
    { env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'HTTP/Protobuf' }, want: { protocol: 'http/protobuf' } },
    {
      env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' },
      want: { protocol: 'grpc' },
    },
    {
      env: { OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=prod, team = storage%20sre ' },
      want: { resourceAttributes: { 'deployment.environment': 'prod', team: 'storage sre' } },
    },
    {
      env: { OTEL_RESOURCE_ATTRIBUTES: 'service.name=other,a=1', OTEL_SERVICE_NAME: 'other' },
      want: { resourceAttributes: { a: '1' } },
    },
    { env: { OTEL_RESOURCE_ATTRIBUTES: 'a=%zz,nonsense,=,b=2' }, want: { resourceAttributes: { b: '2' } } },
    { env: { OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '7' }, want: { limits: { attributeCountLimit: 7 } } },
    { env: { OTEL_ATTRIBUTE_COUNT_LIMIT: '7' }, want: { limits: { attributeCountLimit: 7 } } },
    {
      env: { OTEL_ATTRIBUTE_COUNT_LIMIT: '7', OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '8' },
      want: { limits: { attributeCountLimit: 8 } },
    },
    { env: { OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '7' }, want: { limits: { attributeValueLengthLimit: 7 } } },
    {
      env: { OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '8', OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '7' },
      want: { limits: { attributeValueLengthLimit: 8 } },
    },
    { env: { OTEL_SPAN_EVENT_COUNT_LIMIT: '9' }, want: { limits: { eventCountLimit: 9 } } },
    {
      env: {
        OTEL_BSP_SCHEDULE_DELAY: '100',
        OTEL_BSP_MAX_QUEUE_SIZE: '200',
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '50',
        OTEL_BSP_EXPORT_TIMEOUT: '300',
      },
      want: {
        batch: {
          scheduledDelayMillis: 100,
          maxQueueSize: 200,
          maxExportBatchSize: 50,
          exportTimeoutMillis: 300,
        },
      },
    },
  ])('accepts $env', ({ env, want }) => {
    expect(otelSettings(env)).toMatchObject({ ...want, warnings: [] });
  });
});

describe('ignored values', () => {
  const PROTOCOLS = 'grpc, http/protobuf, http/json';
  it.each([
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'thrift', PROTOCOLS],
    ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'thrift', PROTOCOLS],
    ['OTEL_TRACES_SAMPLER', 'sometimes', SAMPLERS],
    ...[
      'OTEL_BSP_SCHEDULE_DELAY',
      'OTEL_BSP_MAX_QUEUE_SIZE',
      'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
      'OTEL_BSP_EXPORT_TIMEOUT',
      'OTEL_ATTRIBUTE_COUNT_LIMIT',
      'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT',
      'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT',
      'OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT',
      'OTEL_SPAN_EVENT_COUNT_LIMIT',
    ].flatMap((name) =>
      ['0', '-1', '1.5', '5s', '1e9', '9999999999'].map((value) => [name, value, 'a whole number above 0']),
    ),
  ])('warns about %s=%s', (name, value, accepted) => {
    const { warnings, ...settings } = otelSettings({ [name]: value });
    expect(warnings).toEqual([`${name}: "${value}" is ignored; accepted: ${accepted}`]);
    const { warnings: noWarnings, ...defaults } = otelSettings({});
    expect(noWarnings).toEqual([]);
    expect(settings).toEqual(defaults);
  });

  it('falls back to the general protocol if the traces protocol is invalid', () => {
    const settings = otelSettings({
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'thrift',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    });
    expect(settings.protocol).toBe('http/json');
    expect(settings.warnings).toHaveLength(1);
  });

  it.each(['-0.1', '1.1', 'half', 'NaN', '0,5'])('warns about a sampling ratio of %s', (ratio) => {
    const settings = otelSettings({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: ratio });
    expect(settings.warnings).toEqual([
      `OTEL_TRACES_SAMPLER_ARG: "${ratio}" is ignored; accepted: a number from 0 to 1`,
    ]);
    expect(isSampled(settings, HIGH_ID)).toBe(true);
  });

  it('treats empty variables as unset', () => {
    const names = [
      'OTEL_SDK_DISABLED',
      'OTEL_TRACES_EXPORTER',
      'OTEL_EXPORTER_OTLP_ENDPOINT',
      'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
      'OTEL_EXPORTER_OTLP_PROTOCOL',
      'OTEL_RESOURCE_ATTRIBUTES',
      'OTEL_TRACES_SAMPLER',
      'OTEL_TRACES_SAMPLER_ARG',
      'OTEL_BSP_SCHEDULE_DELAY',
      'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT',
    ];
    for (const empty of ['', ' ']) {
      expect(otelSettings(Object.fromEntries(names.map((name) => [name, empty])))).toEqual(otelSettings({}));
    }
  });
});

describe('the sampler', () => {
  const child = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: HIGH_ID,
    spanId: '0000000000000001',
    traceFlags: 1,
  });

  it.each([
    { name: 'always_on', arg: '', low: true, high: true, ofSampledParent: true },
    { name: 'always_off', arg: '', low: false, high: false, ofSampledParent: false },
    { name: 'traceidratio', arg: '0.5', low: true, high: false, ofSampledParent: false },
    { name: 'traceidratio', arg: '0', low: false, high: false, ofSampledParent: false },
    { name: 'traceidratio', arg: '', low: true, high: true, ofSampledParent: true },
    { name: 'parentbased_always_on', arg: '', low: true, high: true, ofSampledParent: true },
    { name: 'parentbased_always_off', arg: '', low: false, high: false, ofSampledParent: true },
    { name: 'parentbased_traceidratio', arg: '0.5', low: true, high: false, ofSampledParent: true },
    { name: 'Always_Off', arg: '', low: false, high: false, ofSampledParent: false },
  ])('applies $name $arg', ({ name, arg, low, high, ofSampledParent }) => {
    const settings = otelSettings({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: arg });
    expect(settings.warnings).toEqual([]);
    expect(isSampled(settings, LOW_ID)).toBe(low);
    expect(isSampled(settings, HIGH_ID)).toBe(high);
    expect(isSampled(settings, HIGH_ID, child)).toBe(ofSampledParent);
  });
});
