import type { Attributes, Context, Span, SpanOptions, Tracer } from '@opentelemetry/api';
import type { ExportResult } from '@opentelemetry/core';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME, ATTR_SERVICE_NAMESPACE } from '@opentelemetry/semantic-conventions';

import type { AbortableExporter } from './span-exporters.ts';

/** The target that spans belong to. */
export interface TracedTarget {
  /** Namespace of the probe. */
  readonly namespace: string;
  /** Name of the target. */
  readonly name: string;
}

/** Maps each span to the tracer of its target. */
export type SpanTargets = WeakMap<object, TargetTracer>;

/** Starts the spans of one target with the tracer that all targets share, and remembers whose they are. */
export class TargetTracer implements Tracer {
  readonly #tracer: Tracer;
  readonly #target: TracedTarget;
  readonly #targets: SpanTargets;
  #resource: Resource | undefined;

  constructor(tracer: Tracer, target: TracedTarget, targets: SpanTargets) {
    this.#tracer = tracer;
    this.#target = target;
    this.#targets = targets;
  }

  startSpan(name: string, options?: SpanOptions, context?: Context): Span {
    const span = this.#tracer.startSpan(name, options, context);
    this.#targets.set(span, this);
    return span;
  }

  /** Not used: every span is started with an explicit parent. */
  startActiveSpan(): never {
    throw new Error('startActiveSpan is not supported; use startSpan');
  }

  /**
   * The resource of this target's spans. Always the same object, because OTLP groups spans by it.
   *
   * @param base resource of the process.
   */
  resource(base: Resource): Resource {
    this.#resource ??= base.merge(resourceFromAttributes(this.#service(base.attributes)));
    return this.#resource;
  }

  #service(base: Attributes): Attributes {
    const { name, namespace } = this.#target;
    const hasOwn = base[ATTR_SERVICE_NAMESPACE] !== undefined || namespace === '';
    return { [ATTR_SERVICE_NAME]: name, ...(!hasOwn && { [ATTR_SERVICE_NAMESPACE]: namespace }) };
  }
}

/** Gives each span the resource of its target, then passes it to another exporter. */
export class TargetResourceExporter implements AbortableExporter {
  readonly #exporter: AbortableExporter;
  readonly #targets: SpanTargets;

  constructor(exporter: AbortableExporter, targets: SpanTargets) {
    this.#exporter = exporter;
    this.#targets = targets;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const ofTargets = spans.map((span) => {
      const target = this.#targets.get(span);
      return target === undefined ? span : withResource(span, target.resource(span.resource));
    });
    this.#exporter.export(ofTargets, done);
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush?.();
  }

  async shutdown(): Promise<void> {
    await this.#exporter.shutdown();
  }

  abort(): void {
    this.#exporter.abort?.();
  }
}

function withResource(span: ReadableSpan, resource: Resource): ReadableSpan {
  const spanContext = span.spanContext();
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => spanContext,
    ...(span.parentSpanContext !== undefined && { parentSpanContext: span.parentSpanContext }),
    startTime: span.startTime,
    endTime: span.endTime,
    status: span.status,
    attributes: span.attributes,
    links: span.links,
    events: span.events,
    duration: span.duration,
    ended: span.ended,
    resource,
    instrumentationScope: span.instrumentationScope,
    droppedAttributesCount: span.droppedAttributesCount,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  };
}
