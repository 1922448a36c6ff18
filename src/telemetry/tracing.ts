import type { Tracer } from '@opentelemetry/api';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';

import type { OtelSettings } from './otel-env.ts';

export interface TracingOptions {
  /** If absent, no spans are exported, but runs still get trace IDs. */
  readonly exporter?: SpanExporter;
  readonly settings: OtelSettings;
  readonly version: string;
}

/** One tracer per target, because `service.name` is the target's name. All tracers share one batch processor. */
export class Tracing {
  readonly #exporter: SpanExporter | undefined;
  readonly #processor: SpanProcessor | undefined;
  readonly #settings: OtelSettings;
  readonly #version: string;
  readonly #tracers = new Map<string, Tracer>();

  constructor({ exporter, settings, version }: TracingOptions) {
    this.#exporter = exporter;
    if (exporter !== undefined) this.#processor = new BatchSpanProcessor({ exporter, ...settings.batch });
    this.#settings = settings;
    this.#version = version;
  }

  tracerFor(target: string): Tracer {
    const cached = this.#tracers.get(target);
    if (cached !== undefined) return cached;
    const tracer = this.#createTracer(target);
    this.#tracers.set(target, tracer);
    return tracer;
  }

  /** Drops the cached tracer of a removed target. Its open spans are still exported when they end. */
  forget(target: string): void {
    this.#tracers.delete(target);
  }

  /** Resolves when all ended spans are delivered or dropped, or when `deadline` aborts. */
  async flush(deadline: AbortSignal): Promise<void> {
    await Promise.race([this.#forceFlush(), untilAborted(deadline)]);
  }

  /** Flushes, then shuts down the exporter. Spans not delivered when `deadline` aborts are dropped. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    try {
      await this.flush(deadline);
    } finally {
      await this.#exporter?.shutdown();
    }
  }

  async #forceFlush(): Promise<void> {
    await this.#processor?.forceFlush();
    await this.#exporter?.forceFlush?.();
  }

  #createTracer(target: string): Tracer {
    const resource = defaultResource()
      .merge(resourceFromAttributes(this.#settings.resourceAttributes))
      .merge(resourceFromAttributes({ 'service.name': target }));
    const provider = new TracerProvider({
      resource,
      sampler: this.#settings.sampler,
      spanLimits: this.#settings.limits,
      spanProcessors: this.#processor === undefined ? [] : [this.#processor],
    });
    return provider.getTracer('storage-probe', this.#version);
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
