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
  /** Where spans go; without one, runs still have trace ids. */
  readonly exporter?: SpanExporter;
  readonly settings: OtelSettings;
  readonly version: string;
}

/** One tracer per target, since `service.name` is the target's name, and one batch for them all. */
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
    const known = this.#tracers.get(target);
    if (known !== undefined) return known;
    const tracer = this.#makeTracer(target);
    this.#tracers.set(target, tracer);
    return tracer;
  }

  /** Lets go of the tracer of a target that nobody probes any more; spans under way still arrive. */
  forget(target: string): void {
    this.#tracers.delete(target);
  }

  /** Ends with all spans so far delivered, or when `deadline` aborts. */
  async flush(deadline: AbortSignal): Promise<void> {
    await Promise.race([this.#flushed(), aborted(deadline)]);
  }

  /** Ends with all spans delivered or, at the latest when `deadline` aborts, given up. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    try {
      await this.flush(deadline);
    } finally {
      await this.#exporter?.shutdown();
    }
  }

  async #flushed(): Promise<void> {
    await this.#processor?.forceFlush();
    await this.#exporter?.forceFlush?.();
  }

  #makeTracer(target: string): Tracer {
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
