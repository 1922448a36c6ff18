import type { Clock } from '../clock/clock.ts';
import { abortable } from './abort.ts';
import { type ErrorFields, errorFields } from './error-fields.ts';
import { hasReason, type KubeClient, KubeError, type KubeLogger } from './kube-client.ts';
import { microTime } from './micro-time.ts';
import type { KubeObject, ObjectReference, ResourceType } from './objects.ts';
import { createObject, patchObject } from './resources.ts';

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Random number in [0, 1), for names and jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** Controller name, such as `example.com/controller`. */
  readonly reportingController: string;
  /** Instance name, such as the Pod's. Cut to 128 characters. */
  readonly reportingInstance: string;
  /** Maximum number of queued Events. Further Events are dropped. Default 1,000, as in client-go. */
  readonly maxQueued?: number;
  readonly metrics?: EventMetrics | undefined;
}

export interface EventMetrics {
  /** Called when an Event is created or its series is updated. */
  recorded(): void;
  /** Called when an Event is dropped. */
  dropped(): void;
}

export interface RecordedEvent {
  readonly regarding: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  /** Reason for the action, in one word. Maximum 128 characters. */
  readonly reason: string;
  /** Action that was taken or failed, in one word. Maximum 128 characters. */
  readonly action: string;
  /** Message for users. Cut to 1,024 bytes. */
  readonly note: string;
}

export const EVENT: ResourceType = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event' };
/** The same objects as {@link EVENT}, but `note` is called `message`. */
const CORE_EVENT: ResourceType = { group: '', version: 'v1', plural: 'events', kind: 'Event' };

/** Repeated occurrences of one event, written as one Event object. */
interface Series {
  readonly event: RecordedEvent;
  readonly namespace: string;
  readonly name: string;
  /** First occurrence, wall time. */
  readonly firstMs: number;
  /** Last occurrence, wall time. */
  lastMs: number;
  /** Note of the last occurrence. */
  note: string;
  count: number;
  isCreated: boolean;
  lastUsedMs: number;
}

/** Rate limit for Events about one object. */
interface TokenBucket {
  tokens: number;
  lastUsedMs: number;
}

/** A series ends after this long without an occurrence. Source: client-go, tools/events, finishTime. */
const SERIES_WINDOW_MS = 360_000;
/** Source: client-go, tools/record/events_cache.go, defaultSpamBurst and defaultSpamQPS. */
const BURST = 25;
const REFILL_INTERVAL_MS = 300_000;
/** Source: client-go, tools/record/events_cache.go, maxLruCacheEntries. */
const MAX_CACHED = 4_096;
/** Source: client-go, tools/events, maxTriesPerEvent. */
const MAX_TRIES = 12;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** Minimum time between two log lines about drops for the same reason. */
const LOG_PERIOD_MS = 360_000;

/** In bytes, although the API server's error message says characters. Source: pkg/apis/core/validation/events.go. */
const MAX_NOTE_BYTES = 1_024;
const MAX_INSTANCE_LENGTH = 128;
const MAX_NAME_LENGTH = 253;

/**
 * Writes Events in the background, one at a time. Recording never blocks or fails. An event that repeats within 6
 * minutes is added to the series of the previous occurrence. Each object may cause a burst of 25 writes, then one write
 * every 5 minutes. The series count also includes occurrences that caused no write.
 */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #log: KubeLogger;
  readonly #reportingController: string;
  readonly #reportingInstance: string;
  readonly #maxQueued: number;
  readonly #metrics: EventMetrics | undefined;
  /** Least recently used first, like `#buckets`. */
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #queue = new Set<Series>();
  /** When a drop was last logged, by reason. Monotonic. */
  readonly #loggedMs = new Map<string, number>();
  readonly #closing = new AbortController();
  #writing: Promise<void> | undefined;
  #dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#reportingController = options.reportingController;
    this.#reportingInstance = options.reportingInstance.slice(0, MAX_INSTANCE_LENGTH);
    this.#maxQueued = options.maxQueued ?? 1_000;
    this.#metrics = options.metrics;
  }

  /** Number of dropped Events. */
  get dropped(): number {
    return this.#dropped;
  }

  record(event: RecordedEvent): void {
    const series = this.#addToSeries(event);
    // The queued write will include this occurrence.
    if (this.#queue.has(series)) return;
    if (this.#queue.size >= this.#maxQueued) {
      this.#drop({ reason: 'QueueFull', error: `the queue is full with ${this.#maxQueued} Events` });
    } else if (!this.#takeToken(event.regarding)) {
      this.#drop({ reason: 'TooMany', error: `more than ${BURST} Events about one object` });
    } else {
      this.#queue.add(series);
      this.#writing ??= this.#writeAll();
    }
  }

  /** Resolves when all Events are written or dropped, or when `signal` aborts. */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#writing === undefined) return;
    await abortable(this.#writing, signal).catch(() => undefined);
  }

  /** Drops the Events that are not written yet. Call `flush` first. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  #addToSeries(event: RecordedEvent): Series {
    const { regarding, reason, type, action } = event;
    const key = JSON.stringify([idOf(regarding), reason, type, action]);
    const nowMs = this.#clock.monotonicMs();
    evict(this.#series, nowMs - SERIES_WINDOW_MS);
    const series = this.#series.get(key) ?? this.#startSeries(event);
    series.count += 1;
    series.note = truncate(event.note, MAX_NOTE_BYTES);
    series.lastMs = this.#clock.now();
    series.lastUsedMs = nowMs;
    putLast(this.#series, key, series);
    return series;
  }

  #startSeries(event: RecordedEvent): Series {
    const { namespace = 'default', name = '' } = event.regarding;
    const suffix = `.${this.#randomHex()}${this.#randomHex()}`;
    // With `generateName`, a retry after a lost response would create a second Event.
    const prefix = name.slice(0, MAX_NAME_LENGTH - suffix.length).replace(/[^a-z0-9]+$/, '');
    const nowMs = this.#clock.now();
    return {
      event,
      namespace,
      name: `${prefix}${suffix}`,
      firstMs: nowMs,
      lastMs: nowMs,
      note: '',
      count: 0,
      isCreated: false,
      lastUsedMs: 0,
    };
  }

  #randomHex(): string {
    return Math.floor(this.#random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  }

  /** Takes a token from the object's bucket. @returns false if the bucket is empty. */
  #takeToken(regarding: ObjectReference): boolean {
    const key = idOf(regarding);
    const nowMs = this.#clock.monotonicMs();
    evict(this.#buckets, nowMs - BURST * REFILL_INTERVAL_MS);
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, lastUsedMs: nowMs };
    const tokens = Math.min(BURST, bucket.tokens + (nowMs - bucket.lastUsedMs) / REFILL_INTERVAL_MS);
    const isAllowed = tokens >= 1;
    putLast(this.#buckets, key, { tokens: isAllowed ? tokens - 1 : tokens, lastUsedMs: nowMs });
    return isAllowed;
  }

  async #writeAll(): Promise<void> {
    // The loop includes series that are queued while it runs.
    for (const series of this.#queue) {
      this.#queue.delete(series);
      await this.#deliver(series);
    }
    this.#writing = undefined;
  }

  async #deliver(series: Series): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#write(series, signal);
        this.#metrics?.recorded();
        return;
      } catch (error) {
        if (signal.aborted || attempt === MAX_TRIES || !isRetryable(error)) {
          this.#drop(errorFields(error));
          return;
        }
        await this.#clock.sleep(this.#backoffMs(attempt), signal).catch(() => undefined);
      }
    }
  }

  async #write(series: Series, signal: AbortSignal): Promise<void> {
    if (!series.isCreated) {
      await this.#create(series, signal);
      series.isCreated = true;
      return;
    }
    try {
      await this.#update(series, signal);
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
      // The Event has expired: the API server keeps Events for an hour or less.
      await this.#create(series, signal);
    }
  }

  async #create(series: Series, signal: AbortSignal): Promise<void> {
    const { event, namespace, name, firstMs, note } = series;
    const { regarding, type, reason, action } = event;
    const object: KubeObject & Record<string, unknown> = {
      metadata: { namespace, name },
      eventTime: microTime(firstMs),
      reportingController: this.#reportingController,
      reportingInstance: this.#reportingInstance,
      regarding,
      type,
      reason,
      action,
      note,
      ...seriesOf(series),
    };
    try {
      await createObject(this.#client, EVENT, object, signal);
    } catch (error) {
      // An earlier attempt created the Event, but its response was lost.
      if (!hasReason(error, 'AlreadyExists')) throw error;
    }
  }

  /**
   * Uses the core API because `events.k8s.io/v1` does not allow changes to the note. `kubectl describe` then shows one
   * line per series, with the newest note and so the newest trace, which is the most likely to be still available.
   */
  async #update(series: Series, signal: AbortSignal): Promise<void> {
    const { namespace, name, note } = series;
    await patchObject(
      this.#client,
      CORE_EVENT,
      { namespace, name },
      { message: note, ...seriesOf(series) },
      signal,
    );
  }

  #drop(cause: ErrorFields): void {
    this.#dropped += 1;
    this.#metrics?.dropped();
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#loggedMs.get(cause.reason) ?? -Infinity) < LOG_PERIOD_MS) return;
    this.#loggedMs.set(cause.reason, nowMs);
    this.#log.warn({ ...cause, dropped: this.#dropped }, 'an Event was dropped');
  }

  #backoffMs(attempt: number): number {
    return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (attempt - 1)) * (0.5 + this.#random() / 2);
  }
}

function idOf({ uid, kind, namespace, name }: ObjectReference): string {
  return uid ?? JSON.stringify([kind, namespace, name]);
}

function seriesOf({ count, lastMs }: Series): object {
  return count < 2 ? {} : { series: { count, lastObservedTime: microTime(lastMs) } };
}

/** True if there was no response, and for 429 and 5xx. Other errors would only repeat. */
function isRetryable(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 0 || error.status === 429 || error.status >= 500);
}

/** Cuts `text` to at most `maxBytes` of UTF-8 without splitting a character. */
function truncate(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const ellipsis = '…';
  const room = new Uint8Array(maxBytes - Buffer.byteLength(ellipsis));
  const { read } = new TextEncoder().encodeInto(text, room);
  return `${text.slice(0, read)}${ellipsis}`;
}

function putLast<T>(cache: Map<string, T>, key: string, value: T): void {
  cache.delete(key);
  cache.set(key, value);
}

/**
 * Evicts entries last used before `minLastUsedMs`. If the cache is full, also evicts the least recently used entries.
 */
function evict(cache: Map<string, { lastUsedMs: number }>, minLastUsedMs: number): void {
  for (const [key, { lastUsedMs }] of cache) {
    if (lastUsedMs >= minLastUsedMs && cache.size < MAX_CACHED) return;
    cache.delete(key);
  }
}
