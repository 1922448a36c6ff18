import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

import { oneLine } from '../api/one-line.ts';
import type { Clock } from '../clock/clock.ts';

export interface RetryingExporterOptions {
  /**
   * Creates the inner exporter. Called again after each failure, because a failed gRPC channel waits longer and longer
   * before it reconnects, and stays connected to a peer that is not an OTLP receiver.
   */
  readonly create: () => SpanExporter;
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  /** Maximum number of queued spans. Further spans are dropped. Default 8,192. */
  readonly maxQueuedSpans?: number;
  /** Time limit for delivering a batch, in ms. Default 300,000, as in the Collector's exporters. */
  readonly maxRetryMs?: number;
  /** Called with a one-line reason when delivery starts failing, and with no argument when it recovers. */
  readonly onDeliveryChange?: (error?: string) => void;
}

export interface DeliveryCounts {
  readonly delivered: number;
  readonly dropped: number;
  /** Error message of the last failed attempt, on one line. */
  readonly lastError: string | undefined;
}

interface Batch {
  readonly spans: ReadableSpan[];
  /** Monotonic time at which the batch was queued. */
  readonly queuedAtMs: number;
}

const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;

/**
 * Delivers batches to an OTLP exporter one at a time, and retries after errors that may be temporary. `export` only
 * queues the batch, so a run never waits for delivery. Spans that cannot be queued or delivered are dropped and
 * counted.
 */
export class RetryingExporter implements SpanExporter {
  readonly #create: () => SpanExporter;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #maxQueuedSpans: number;
  readonly #maxRetryMs: number;
  readonly #onDeliveryChange: (error?: string) => void;
  readonly #queue: Batch[] = [];
  readonly #stopping = new AbortController();
  #exporter: SpanExporter | undefined;
  #draining: Promise<void> | undefined;
  #queuedSpans = 0;
  #delivered = 0;
  #dropped = 0;
  #lastError: string | undefined;
  #isFailing = false;

  constructor(options: RetryingExporterOptions) {
    this.#create = options.create;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#maxQueuedSpans = options.maxQueuedSpans ?? 8_192;
    this.#maxRetryMs = options.maxRetryMs ?? 300_000;
    this.#onDeliveryChange = options.onDeliveryChange ?? (() => undefined);
  }

  get counts(): DeliveryCounts {
    return { delivered: this.#delivered, dropped: this.#dropped, lastError: this.#lastError };
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    if (this.#stopping.signal.aborted || this.#queuedSpans + spans.length > this.#maxQueuedSpans) {
      this.#dropped += spans.length;
    } else {
      this.#queuedSpans += spans.length;
      this.#queue.push({ spans, queuedAtMs: this.#clock.monotonicMs() });
      this.#draining ??= this.#drain();
    }
    done({ code: ExportResultCode.SUCCESS });
  }

  /** Resolves when every queued batch is delivered or dropped. */
  async forceFlush(): Promise<void> {
    await this.#draining;
  }

  /** Drops all batches that are not yet delivered. Call `forceFlush` first to keep them. */
  async shutdown(): Promise<void> {
    this.#stopping.abort();
    await this.#draining;
    // Not awaited: a channel that hangs while closing must not delay the process exit.
    void this.#exporter?.shutdown().catch(() => undefined);
  }

  async #drain(): Promise<void> {
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      if (await this.#deliver(batch)) this.#delivered += batch.spans.length;
      else this.#dropped += batch.spans.length;
      this.#queuedSpans -= batch.spans.length;
      this.#queue.shift();
    }
    this.#draining = undefined;
  }

  /** @returns true if the receiver accepted the batch. */
  async #deliver({ spans, queuedAtMs }: Batch): Promise<boolean> {
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const failure = await this.#attempt(spans, signal);
      if (failure === undefined) {
        if (this.#isFailing) this.#onDeliveryChange();
        this.#isFailing = false;
        return true;
      }
      const error = oneLine(failure.message);
      // On shutdown, an earlier failure explains more than the abort does.
      if (!signal.aborted || this.#lastError === undefined) this.#lastError = error;
      if (!this.#isFailing) this.#onDeliveryChange(error);
      this.#isFailing = true;
      const delayMs = this.#backoffMs(attempt);
      const ageMs = this.#clock.monotonicMs() - queuedAtMs;
      this.#discardExporter();
      if (!isRetryable(failure) || ageMs + delayMs > this.#maxRetryMs) return false;
      await this.#clock.sleep(delayMs, signal).catch(() => undefined);
    }
    return false;
  }

  /** @returns the error, or undefined on success. */
  #attempt(spans: ReadableSpan[], signal: AbortSignal): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const settle = (failure?: Error): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(failure);
      };
      const onAbort = (): void => {
        settle(new Error('flush timed out while waiting for a response'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        this.#exporter ??= this.#create();
        this.#exporter.export(spans, ({ code, error }) => {
          settle(
            code === ExportResultCode.SUCCESS
              ? undefined
              : (error ?? new Error('export failed without a reason')),
          );
        });
      } catch (cause) {
        // Exporters throw on invalid settings, such as a malformed endpoint. Retrying cannot fix that.
        settle(new Error(cause instanceof Error ? cause.message : String(cause), { cause }));
      }
    });
  }

  #discardExporter(): void {
    void this.#exporter?.shutdown().catch(() => undefined);
    this.#exporter = undefined;
  }

  #backoffMs(attempt: number): number {
    return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt) * (0.5 + this.#random() / 2);
  }
}

/** Source: OTLP specification, "OTLP/gRPC Response". */
const RETRYABLE_GRPC_CODES = new Set([1, 4, 10, 11, 14, 15]);
const GRPC_RESOURCE_EXHAUSTED = 8;
/** Source: OTLP specification, "OTLP/HTTP Response". */
const RETRYABLE_HTTP_CODES = new Set([429, 502, 503, 504]);

function isRetryable(error: Error): boolean {
  const code = 'code' in error ? error.code : undefined;
  // A system error such as ECONNREFUSED, or the HTTP exporter's "retryable" error, which has no code.
  if (typeof code !== 'number') return code !== undefined || error.message.includes('retryable');
  if (code === GRPC_RESOURCE_EXHAUSTED) return hasRetryInfo(error);
  return RETRYABLE_GRPC_CODES.has(code) || RETRYABLE_HTTP_CODES.has(code);
}

/** `RESOURCE_EXHAUSTED` is retryable only if the receiver sends `RetryInfo`. */
function hasRetryInfo(error: Error): boolean {
  const metadata = 'metadata' in error ? error.metadata : undefined;
  if (typeof metadata !== 'object' || metadata === null || !('get' in metadata)) return false;
  const details = (metadata as { get: (key: string) => unknown[] }).get('grpc-status-details-bin');
  return details.some((detail) => String(detail).includes('google.rpc.RetryInfo'));
}
