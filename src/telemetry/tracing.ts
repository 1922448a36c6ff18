import { setImmediate as nextTurn } from 'node:timers/promises';

import { context, diag, logs, type ProxyTracerProvider, trace, type Tracer } from '@opentelemetry/api';
import { diagLogLevelFromString, getStringFromEnv } from '@opentelemetry/core';
import {
  defaultResource,
  envDetector,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';

import { captureDiagnostics, type WriteDiagnostic } from './diagnostics.ts';
import type { AbortableExporter } from './span-exporters.ts';
import {
  type SpanTargets,
  type TracedTarget,
  TargetResourceExporter,
  TargetTracer,
} from './target-tracer.ts';

const SCOPE = 'storage-probe';

export interface TracingOptions {
  /** If absent, no spans are exported, but runs still get trace IDs. */
  readonly exporter?: AbortableExporter | undefined;
  readonly version: string;
  /** Receives OpenTelemetry's own messages. */
  readonly onDiagnostic: WriteDiagnostic;
}

/**
 * Starts OpenTelemetry's `NodeSDK`, which reads sampler, limits, batching and resource from the `OTEL_*` variables of
 * the process. It is loaded only if spans are exported. A process can have only one at a time.
 */
export async function startTracing({ exporter, version, onDiagnostic }: TracingOptions): Promise<Tracing> {
  if (exporter === undefined) {
    const provider = new TracerProvider();
    return new Tracing({ provider, version, stop: () => provider.shutdown() });
  }
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const targets: SpanTargets = new WeakMap();
  // The API ignores later registrations, so the earlier ones are removed first. If OTEL_LOG_LEVEL is set, the
  // constructor also sets its own logger.
  unregister();
  const sdk = new NodeSDK({
    traceExporter: new TargetResourceExporter(exporter, targets),
    resource: defaultResource().merge(resourceFromAttributes({ [ATTR_SERVICE_VERSION]: version })),
    // Without the process detector, because a command line can contain credentials.
    resourceDetectors: [serviceInstanceIdDetector, envDetector],
    textMapPropagator: null,
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
  });
  captureDiagnostics(onDiagnostic, diagLogLevelFromString(getStringFromEnv('OTEL_LOG_LEVEL')));
  warnAboutResourceAttributes();
  sdk.start();
  const provider = (trace.getTracerProvider() as ProxyTracerProvider).getDelegate() as TracerProvider;
  return new Tracing({ provider, version, targets, exporter, stop: () => stopSdk(sdk) });
}

/** The SDK ignores the whole variable if one pair is malformed, and reports that only at debug level. */
function warnAboutResourceAttributes(): void {
  const name = 'OTEL_RESOURCE_ATTRIBUTES';
  if (getStringFromEnv(name) === undefined) return;
  if (Object.keys(resourceAttributesEnvDetector.detect().attributes ?? {}).length > 0) return;
  diag.warn(
    `${name} is ignored because a pair is malformed; accepted: key=value,key=value, with "%", "," and "=" percent-encoded`,
  );
}

async function stopSdk(sdk: { shutdown(): Promise<void> }): Promise<void> {
  await sdk.shutdown();
  unregister();
}

/** Removes what the SDK has registered with OpenTelemetry's API, which is global. */
function unregister(): void {
  for (const api of [trace, context, logs, diag]) api.disable();
}

interface TracingParts {
  readonly provider: TracerProvider;
  readonly version: string;
  readonly targets?: SpanTargets;
  readonly exporter?: AbortableExporter;
  /** Flushes and shuts down provider and exporter. */
  readonly stop: () => Promise<void>;
}

/** One tracer for all targets. Each target's spans get its name as `service.name` when they are exported. */
export class Tracing {
  readonly #parts: TracingParts;
  readonly #tracer: Tracer;
  readonly #targets: SpanTargets;
  readonly #tracers = new Map<string, TargetTracer>();

  constructor(parts: TracingParts) {
    this.#parts = parts;
    this.#tracer = parts.provider.getTracer(SCOPE, parts.version);
    this.#targets = parts.targets ?? new WeakMap();
  }

  tracerFor(target: TracedTarget): Tracer {
    const key = keyOf(target);
    const cached = this.#tracers.get(key);
    if (cached !== undefined) return cached;
    const tracer = new TargetTracer(this.#tracer, target, this.#targets);
    this.#tracers.set(key, tracer);
    return tracer;
  }

  /** Frees what is kept for a removed target. Its open spans are still exported when they end. */
  forget(target: TracedTarget): void {
    this.#tracers.delete(keyOf(target));
  }

  /** Resolves when all ended spans are delivered or dropped, or when `deadline` aborts. */
  async flush(deadline: AbortSignal): Promise<void> {
    await Promise.race([this.#forceFlush(), untilAborted(deadline)]);
  }

  /** Flushes, then shuts down. Spans not delivered when `deadline` aborts are dropped. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    const stopped = this.#parts.stop();
    await Promise.race([stopped, untilAborted(deadline)]);
    this.#parts.exporter?.abort?.();
    // After an abort, the exporter only counts what it drops.
    await Promise.race([stopped, nextTurn()]);
  }

  async #forceFlush(): Promise<void> {
    await this.#parts.provider.forceFlush();
    await this.#parts.exporter?.forceFlush?.();
  }
}

function keyOf({ namespace, name }: TracedTarget): string {
  return `${namespace}/${name}`;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
