import { diag } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

import { oneLine } from '../api/one-line.ts';
import type { Clock } from '../clock/clock.ts';
import type { Delivery, OtlpTransport } from './otlp-transport.ts';

export interface RetryingExporterOptions {
  /**
   * Creates the transport. Called again after each failure, because a failed gRPC channel waits longer and longer
   * before it reconnects, and stays connected to a peer that is not an OTLP receiver.
   */
  readonly create: () => OtlpTransport;
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  /** Time limit of one attempt. Default 10,000, as in OpenTelemetry's exporters. */
  readonly timeoutMs?: number;
  /** Maximum number of queued spans. Further spans are dropped. Default 8,192. */
  readonly maxQueuedSpans?: number;
  /**
   * Time limit for delivering a batch, in ms. Default 300,000, as in the Collector's exporters. Also the longest pause
   * that a receiver can ask for.
   */
  readonly maxRetryMs?: number;
  /**
   * Called with a one-line reason when the receiver starts to refuse spans, and with no argument when it accepts all
   * spans of a batch again.
   */
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

type Failure = Extract<Delivery, { outcome: 'failed' }>;

const DEFAULT_TIMEOUT_MS = 10_000;
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;

/**
 * Delivers batches to an OTLP receiver one at a time, and retries after errors that may be temporary. `export` only
 * queues the batch, so a run never waits for delivery. Spans that cannot be queued or delivered are dropped and
 * counted.
 */
export class RetryingExporter implements SpanExporter {
  readonly #create: () => OtlpTransport;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #timeoutMs: number;
  readonly #maxQueuedSpans: number;
  readonly #maxRetryMs: number;
  readonly #onDeliveryChange: (error?: string) => void;
  readonly #queue: Batch[] = [];
  readonly #aborting = new AbortController();
  #transport: OtlpTransport | undefined;
  #draining: Promise<void> | undefined;
  #isShutDown = false;
  #queuedSpans = 0;
  #delivered = 0;
  #dropped = 0;
  #lastError: string | undefined;
  #isFailing = false;
  /** Monotonic time before which nothing is sent. */
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: RetryingExporterOptions) {
    this.#create = options.create;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#maxQueuedSpans = options.maxQueuedSpans ?? 8_192;
    this.#maxRetryMs = options.maxRetryMs ?? 300_000;
    this.#onDeliveryChange = options.onDeliveryChange ?? (() => undefined);
  }

  get counts(): DeliveryCounts {
    return { delivered: this.#delivered, dropped: this.#dropped, lastError: this.#lastError };
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    if (this.#isShutDown || this.#queuedSpans + spans.length > this.#maxQueuedSpans) {
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

  /** Delivers what is queued and closes the connection. Call {@link abort} to limit the time that this takes. */
  async shutdown(): Promise<void> {
    this.#isShutDown = true;
    await this.#draining;
    this.#closeTransport();
  }

  /** Drops all spans that are not yet delivered, and every later one. */
  abort(): void {
    this.#isShutDown = true;
    this.#aborting.abort();
  }

  async #drain(): Promise<void> {
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      const delivered = await this.#deliver(batch);
      this.#delivered += delivered;
      this.#dropped += batch.spans.length - delivered;
      this.#queuedSpans -= batch.spans.length;
      this.#queue.shift();
    }
    this.#draining = undefined;
  }

  /** @returns the number of spans that the receiver accepted. */
  async #deliver({ spans, queuedAtMs }: Batch): Promise<number> {
    const { signal } = this.#aborting;
    const expiresAtMs = queuedAtMs + this.#maxRetryMs;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const pauseMs = this.#pausedUntilMs - this.#clock.monotonicMs();
      if (this.#pausedUntilMs > expiresAtMs) return 0;
      if (pauseMs > 0) await this.#clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return 0;

      const delivery = await this.#attempt(spans, signal);
      if (delivery.outcome === 'accepted') return this.#accepted(spans.length, delivery);
      this.#failed(delivery, attempt);
      if (!delivery.isRetryable) return 0;
    }
    return 0;
  }

  #accepted(
    spanCount: number,
    { rejectedSpans, message }: Extract<Delivery, { outcome: 'accepted' }>,
  ): number {
    if (rejectedSpans > 0) {
      this.#report(
        `the receiver rejected ${rejectedSpans} of ${spanCount} spans: ${message ?? 'no reason given'}`,
      );
    } else {
      if (message !== undefined) diag.warn(`The receiver accepted the spans with a warning: ${message}`);
      if (this.#isFailing) this.#onDeliveryChange();
      this.#isFailing = false;
    }
    return Math.max(0, spanCount - rejectedSpans);
  }

  #failed({ message, isRetryable, retryAfterMs = 0 }: Failure, attempt: number): void {
    // On shutdown, an earlier failure explains more than the abort does.
    if (!this.#aborting.signal.aborted || this.#lastError === undefined) this.#report(message);
    this.#closeTransport();
    if (!isRetryable) return;
    const delayMs = Math.min(this.#maxRetryMs, Math.max(this.#backoffMs(attempt), retryAfterMs));
    this.#pausedUntilMs = this.#clock.monotonicMs() + delayMs;
  }

  #report(message: string): void {
    const error = oneLine(message);
    this.#lastError = error;
    if (!this.#isFailing) this.#onDeliveryChange(error);
    this.#isFailing = true;
  }

  async #attempt(spans: ReadableSpan[], signal: AbortSignal): Promise<Delivery> {
    using deadline = this.#clock.deadline(this.#timeoutMs, signal);
    try {
      this.#transport ??= this.#create();
      return await Promise.race([
        this.#transport.send(spans, deadline.signal),
        this.#noResponse(deadline.signal),
      ]);
    } catch (error) {
      return { outcome: 'failed', message: String(error), isRetryable: false };
    }
  }

  /** Settles when the attempt is out of time, even if the transport does not react to its signal. */
  #noResponse(deadline: AbortSignal): Promise<Delivery> {
    return new Promise((resolve) => {
      deadline.addEventListener(
        'abort',
        () => {
          const message = this.#aborting.signal.aborted
            ? 'flush timed out while waiting for a response'
            : `no response within ${this.#timeoutMs / 1_000} s`;
          resolve({ outcome: 'failed', message, isRetryable: true });
        },
        { once: true },
      );
    });
  }

  #closeTransport(): void {
    this.#transport?.close();
    this.#transport = undefined;
  }

  #backoffMs(attempt: number): number {
    return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt) * (0.5 + this.#random() / 2);
  }
}
