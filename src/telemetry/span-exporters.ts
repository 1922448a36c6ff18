import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

/** An exporter that can be told to stop. */
export interface AbortableExporter extends SpanExporter {
  /** Drops everything that is not yet exported, so that a pending `shutdown` resolves. */
  abort?(): void;
}

/** Passes all spans to several exporters. None of them waits for another. */
export class FanOutExporter implements AbortableExporter {
  readonly #exporters: readonly AbortableExporter[];

  constructor(exporters: readonly AbortableExporter[]) {
    this.#exporters = exporters;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    let pending = this.#exporters.length;
    let failure: ExportResult | undefined;
    for (const exporter of this.#exporters) {
      exporter.export(spans, (result) => {
        pending -= 1;
        if (result.code !== ExportResultCode.SUCCESS) failure = result;
        if (pending === 0) done(failure ?? result);
      });
    }
  }

  async forceFlush(): Promise<void> {
    await Promise.all(this.#exporters.map(async (exporter) => exporter.forceFlush?.()));
  }

  async shutdown(): Promise<void> {
    await Promise.all(this.#exporters.map((exporter) => exporter.shutdown()));
  }

  abort(): void {
    for (const exporter of this.#exporters) exporter.abort?.();
  }
}
