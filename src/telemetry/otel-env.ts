import { parseKeyPairsIntoRecord } from '@opentelemetry/core';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  type SpanLimits,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';

export const OTLP_PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number];

/** Settings from the `OTEL_*` variables, except those that OpenTelemetry's OTLP exporters read themselves. */
export interface OtelSettings {
  readonly disabled: boolean;
  /** Value of `OTEL_TRACES_EXPORTER`. Absent if it is not set. */
  readonly exporter?: string;
  /** OTLP endpoint for spans. Absent if no variable sets it. */
  readonly otlpEndpoint?: string;
  readonly protocol: OtlpProtocol;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  readonly sampler: Sampler;
  readonly limits: SpanLimits;
  readonly batch: {
    readonly scheduledDelayMillis: number;
    readonly maxQueueSize: number;
    readonly maxExportBatchSize: number;
    readonly exportTimeoutMillis: number;
  };
  /** One line for each variable whose value is invalid and ignored. */
  readonly warnings: readonly string[];
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Reads the variables as the specification requires. An empty variable counts as unset, an invalid value is ignored
 * with a warning, and keywords are case-insensitive.
 *
 * There are two differences. The protocol defaults to `grpc`, which the specification allows for an SDK that already
 * had that default. `service.name` is always the target's name; `OTEL_SERVICE_NAME` is ignored.
 *
 * Source: OpenTelemetry specification, "Environment Variable Specification".
 */
export function otelSettings(env: Env): OtelSettings {
  const warnings: string[] = [];
  const protocol =
    oneOf(env, 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', OTLP_PROTOCOLS, warnings) ??
    oneOf(env, 'OTEL_EXPORTER_OTLP_PROTOCOL', OTLP_PROTOCOLS, warnings);
  const exporter = text(env, 'OTEL_TRACES_EXPORTER')?.toLowerCase();
  const otlpEndpoint =
    text(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? text(env, 'OTEL_EXPORTER_OTLP_ENDPOINT');
  return {
    disabled: text(env, 'OTEL_SDK_DISABLED')?.toLowerCase() === 'true',
    ...(exporter !== undefined && { exporter }),
    ...(otlpEndpoint !== undefined && { otlpEndpoint }),
    protocol: protocol ?? 'grpc',
    resourceAttributes: resourceAttributes(text(env, 'OTEL_RESOURCE_ATTRIBUTES')),
    sampler: sampler(env, warnings),
    limits: limits(env, warnings),
    batch: {
      scheduledDelayMillis: count(env, 'OTEL_BSP_SCHEDULE_DELAY', warnings) ?? 5_000,
      maxQueueSize: count(env, 'OTEL_BSP_MAX_QUEUE_SIZE', warnings) ?? 2_048,
      maxExportBatchSize: count(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE', warnings) ?? 512,
      exportTimeoutMillis: count(env, 'OTEL_BSP_EXPORT_TIMEOUT', warnings) ?? 30_000,
    },
    warnings,
  };
}

function resourceAttributes(pairs: string | undefined): Record<string, string> {
  const attributes = parseKeyPairsIntoRecord(pairs);
  delete attributes['service.name'];
  return attributes;
}

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

function sampler(env: Env, warnings: string[]): Sampler {
  const name = oneOf(env, 'OTEL_TRACES_SAMPLER', SAMPLERS, warnings) ?? 'parentbased_always_on';
  const root = rootSampler(name.replace('parentbased_', ''), env, warnings);
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

function rootSampler(name: string, env: Env, warnings: string[]): Sampler {
  if (name === 'always_off') return new AlwaysOffSampler();
  if (name === 'always_on') return new AlwaysOnSampler();
  const given = text(env, 'OTEL_TRACES_SAMPLER_ARG');
  const ratio = given === undefined ? 1 : Number(given);
  if (ratio >= 0 && ratio <= 1) return new TraceIdRatioBasedSampler(ratio);
  warnings.push(`OTEL_TRACES_SAMPLER_ARG: "${given}" is ignored; accepted: a number from 0 to 1`);
  return new AlwaysOnSampler();
}

function limits(env: Env, warnings: string[]): SpanLimits {
  const spanLimits: SpanLimits = {};
  const shared = count(env, 'OTEL_ATTRIBUTE_COUNT_LIMIT', warnings);
  const attributes = count(env, 'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', warnings) ?? shared;
  const valueLength =
    count(env, 'OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT', warnings) ??
    count(env, 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT', warnings);
  const events = count(env, 'OTEL_SPAN_EVENT_COUNT_LIMIT', warnings);
  if (attributes !== undefined) spanLimits.attributeCountLimit = attributes;
  if (valueLength !== undefined) spanLimits.attributeValueLengthLimit = valueLength;
  if (events !== undefined) spanLimits.eventCountLimit = events;
  return spanLimits;
}

function text(env: Env, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}

function count(env: Env, name: string, warnings: string[]): number | undefined {
  const value = text(env, name);
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value) && Number(value) > 0) return Number(value);
  warnings.push(`${name}: "${value}" is ignored; accepted: a whole number above 0`);
  return undefined;
}

function oneOf<T extends string>(
  env: Env,
  name: string,
  accepted: readonly T[],
  warnings: string[],
): T | undefined {
  const value = text(env, name);
  if (value === undefined) return undefined;
  const found = accepted.find((candidate) => candidate === value.toLowerCase());
  if (found === undefined) warnings.push(`${name}: "${value}" is ignored; accepted: ${accepted.join(', ')}`);
  return found;
}
