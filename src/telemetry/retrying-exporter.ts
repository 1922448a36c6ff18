import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

import { oneLine } from '../api/one-line.ts';
import type { Clock } from '../clock/clock.ts';

export interface RetryingExporterOptions {
  /**
   * Makes the exporter; made anew after a failure, since a gRPC channel waits ever longer before it connects again, and
   * stays with a peer that is no receiver at all.
   */
  readonly create: () => SpanExporter;
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  /** Spans held while the receiver is away; what comes on top is dropped. Default 8,192. */
  readonly maxHeldSpans?: number;
  /** How long a batch is tried before it is dropped, in ms. Default 300,000, as the Collector's own exporters do. */
  readonly maxRetryMs?: number;
  /** Is told once, in one line, why deliveries fail from now on, and with nothing that they succeed again. */
  readonly onTurn?: (error?: string) => void;
}

export interface DeliveryCounts {
  readonly delivered: number;
  readonly dropped: number;
  /** Of the last failed attempt; one line. */
  readonly lastError: string | undefined;
}

interface Batch {
  readonly spans: ReadableSpan[];
  readonly sinceMs: number;
}

const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;

/**
 * Delivers batches to an OTLP exporter, one after another, and tries again where the receiver may come back. It takes
 * a batch at once, so that whoever ended a span never waits; what it cannot hold or deliver it drops, and counts.
 */
export class RetryingExporter implements SpanExporter {
  readonly #create: () => SpanExporter;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #maxHeldSpans: number;
  readonly #maxRetryMs: number;
  readonly #onTurn: (error?: string) => void;
  readonly #queue: Batch[] = [];
  readonly #stopping = new AbortController();
  #exporter: SpanExporter | undefined;
  #pumping: Promise<void> | undefined;
  #held = 0;
  #delivered = 0;
  #dropped = 0;
  #lastError: string | undefined;
  #isFailing = false;

  constructor(options: RetryingExporterOptions) {
    this.#create = options.create;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#maxHeldSpans = options.maxHeldSpans ?? 8_192;
    this.#maxRetryMs = options.maxRetryMs ?? 300_000;
    this.#onTurn = options.onTurn ?? (() => undefined);
  }

  get counts(): DeliveryCounts {
    return { delivered: this.#delivered, dropped: this.#dropped, lastError: this.#lastError };
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    if (this.#stopping.signal.aborted || this.#held + spans.length > this.#maxHeldSpans) {
      this.#dropped += spans.length;
    } else {
      this.#held += spans.length;
      this.#queue.push({ spans, sinceMs: this.#clock.monotonicMs() });
      this.#pumping ??= this.#pump();
    }
    done({ code: ExportResultCode.SUCCESS });
  }

  /** Resolves when all that was taken is delivered or dropped. */
  async forceFlush(): Promise<void> {
    await this.#pumping;
  }

  /** Drops what is not delivered yet. Flush first. */
  async shutdown(): Promise<void> {
    this.#stopping.abort();
    await this.#pumping;
    // A channel that hangs must not hold up the process: its close is not waited for.
    void this.#exporter?.shutdown().catch(() => undefined);
  }

  async #pump(): Promise<void> {
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      if (await this.#deliver(batch)) this.#delivered += batch.spans.length;
      else this.#dropped += batch.spans.length;
      this.#held -= batch.spans.length;
      this.#queue.shift();
    }
    this.#pumping = undefined;
  }

  /** @returns whether the receiver took it. */
  async #deliver({ spans, sinceMs }: Batch): Promise<boolean> {
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const failure = await this.#attempt(spans, signal);
      if (failure === undefined) {
        if (this.#isFailing) this.#onTurn();
        this.#isFailing = false;
        return true;
      }
      const error = oneLine(failure.message);
      // An abort says less than the failure that it cut short.
      if (!signal.aborted || this.#lastError === undefined) this.#lastError = error;
      if (!this.#isFailing) this.#onTurn(error);
      this.#isFailing = true;
      const delayMs = this.#backoffMs(attempt);
      const ageMs = this.#clock.monotonicMs() - sinceMs;
      this.#discardExporter();
      if (!isRetryable(failure) || ageMs + delayMs > this.#maxRetryMs) return false;
      await this.#clock.sleep(delayMs, signal).catch(() => undefined);
    }
    return false;
  }

  /** @returns what went wrong. */
  #attempt(spans: ReadableSpan[], signal: AbortSignal): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const settle = (failure?: Error): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(failure);
      };
      const onAbort = (): void => {
        settle(new Error('no answer within the time to flush'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        this.#exporter ??= this.#create();
        this.#exporter.export(spans, ({ code, error }) => {
          settle(code === ExportResultCode.SUCCESS ? undefined : (error ?? new Error('no reason was given')));
        });
      } catch (cause) {
        // It throws for its settings, such as an endpoint that is no address: that no later attempt can mend.
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

/** Source: OTLP specification, "OTLP/gRPC Response": the retryable codes. */
const RETRYABLE_GRPC_CODES = new Set([1, 4, 10, 11, 14, 15]);
const GRPC_RESOURCE_EXHAUSTED = 8;
/** Source: OTLP specification, "OTLP/HTTP Response": retryable response codes. */
const RETRYABLE_HTTP_CODES = new Set([429, 502, 503, 504]);

function isRetryable(error: Error): boolean {
  const code = 'code' in error ? error.code : undefined;
  // A system error (ECONNREFUSED), or the HTTP exporter's own "retryable" without a code.
  if (typeof code !== 'number') return code !== undefined || error.message.includes('retryable');
  if (code === GRPC_RESOURCE_EXHAUSTED) return hasRetryInfo(error);
  return RETRYABLE_GRPC_CODES.has(code) || RETRYABLE_HTTP_CODES.has(code);
}

/** `RESOURCE_EXHAUSTED` may be tried again only when the receiver says when. */
function hasRetryInfo(error: Error): boolean {
  const metadata = 'metadata' in error ? error.metadata : undefined;
  if (typeof metadata !== 'object' || metadata === null || !('get' in metadata)) return false;
  const details = (metadata as { get: (key: string) => unknown[] }).get('grpc-status-details-bin');
  return details.some((detail) => String(detail).includes('google.rpc.RetryInfo'));
}
