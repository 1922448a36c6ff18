import type { Clock } from '../clock/clock.ts';
import { orAborted } from './abort.ts';
import { type Fault, faultOf } from './fault.ts';
import { hasReason, type KubeClient, KubeError, type KubeLogger } from './kube-client.ts';
import { microTime } from './micro-time.ts';
import type { KubeObject, ObjectReference, ResourceType } from './objects.ts';
import { createObject, patchObject } from './resources.ts';

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** In [0, 1): names and jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** Such as `example.com/controller`. */
  readonly reportingController: string;
  /** Such as the Pod's name; cut to 128 characters. */
  readonly reportingInstance: string;
  /** Events that wait to be written; what comes on top is dropped. Default 1,000, as in client-go. */
  readonly maxQueued?: number;
  readonly metrics?: EventMetrics | undefined;
}

export interface EventMetrics {
  /** Written: made, or made to tell of one more time. */
  recorded(): void;
  dropped(): void;
}

export interface RecordedEvent {
  readonly regarding: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  /** One word: why the action was taken. At most 128 characters, as the action. */
  readonly reason: string;
  /** One word: what was done, or failed. */
  readonly action: string;
  /** For people; cut to 1,024 bytes. */
  readonly note: string;
}

export const EVENT: ResourceType = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event' };
/** The same objects as {@link EVENT}, with `note` called `message`. */
const CORE_EVENT: ResourceType = { group: '', version: 'v1', plural: 'events', kind: 'Event' };

/** An event with all the times that it happened. */
interface Series {
  readonly event: RecordedEvent;
  readonly namespace: string;
  readonly name: string;
  /** Wall time. */
  readonly firstMs: number;
  lastMs: number;
  /** Of the last time; people look for what is new. */
  note: string;
  count: number;
  isCreated: boolean;
  usedMs: number;
}

/** How much may still be written about one object. */
interface Allowance {
  tokens: number;
  usedMs: number;
}

/** After this long without it, an event begins anew. Source: client-go, tools/events, finishTime. */
const SERIES_WINDOW_MS = 360_000;
/** Source: client-go, tools/record/events_cache.go, defaultSpamBurst and defaultSpamQPS. */
const BURST = 25;
const REFILL_MS = 300_000;
/** Source: client-go, tools/record/events_cache.go, maxLruCacheEntries. */
const MAX_CACHED = 4_096;
/** Source: client-go, tools/events, maxTriesPerEvent. */
const MAX_TRIES = 12;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** The same complaint is logged no more often. */
const LOG_PERIOD_MS = 360_000;

/** Bytes, though the API server's message says characters. Source: pkg/apis/core/validation/events.go. */
const MAX_NOTE_BYTES = 1_024;
const MAX_INSTANCE_LENGTH = 128;
const MAX_NAME_LENGTH = 253;

/**
 * Writes Events in the background, one after another; whoever records one never waits and never fails. An event that
 * happens again within 6 minutes becomes one more of its series. About one object at most 25 are written in a row, and
 * then one in 5 minutes; a series counts also what was not written.
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
  /** Both in the order of their last use. */
  readonly #series = new Map<string, Series>();
  readonly #allowances = new Map<string, Allowance>();
  readonly #queue = new Set<Series>();
  readonly #toldMs = new Map<string, number>();
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

  /** Events for which nothing was written. */
  get dropped(): number {
    return this.#dropped;
  }

  record(event: RecordedEvent): void {
    const series = this.#countIn(event);
    // What waits to be written tells of this time, too.
    if (this.#queue.has(series)) return;
    if (this.#queue.size >= this.#maxQueued) {
      this.#drop({ reason: 'QueueFull', error: `${this.#maxQueued} Events wait to be written` });
    } else if (!this.#isAllowed(event.regarding)) {
      this.#drop({ reason: 'TooMany', error: `more than ${BURST} Events about one object` });
    } else {
      this.#queue.add(series);
      this.#writing ??= this.#writeAll();
    }
  }

  /** Resolves when all is written or dropped, and also when `signal` aborts. */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#writing === undefined) return;
    await orAborted(this.#writing, signal).catch(() => undefined);
  }

  /** Drops what is not written yet. Flush first. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  #countIn(event: RecordedEvent): Series {
    const { regarding, reason, type, action } = event;
    const key = JSON.stringify([idOf(regarding), reason, type, action]);
    const nowMs = this.#clock.monotonicMs();
    trim(this.#series, nowMs - SERIES_WINDOW_MS);
    const series = this.#series.get(key) ?? this.#begin(event);
    series.count += 1;
    series.note = clip(event.note, MAX_NOTE_BYTES);
    series.lastMs = this.#clock.now();
    series.usedMs = nowMs;
    putLast(this.#series, key, series);
    return series;
  }

  #begin(event: RecordedEvent): Series {
    const { namespace = 'default', name = '' } = event.regarding;
    const suffix = `.${this.#randomHex()}${this.#randomHex()}`;
    // Ours, not the server's: an attempt whose answer was lost makes no second Event when it is made again.
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
      usedMs: 0,
    };
  }

  #randomHex(): string {
    return Math.floor(this.#random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  }

  /** A token bucket for each object. */
  #isAllowed(regarding: ObjectReference): boolean {
    const key = idOf(regarding);
    const nowMs = this.#clock.monotonicMs();
    trim(this.#allowances, nowMs - BURST * REFILL_MS);
    const before = this.#allowances.get(key) ?? { tokens: BURST, usedMs: nowMs };
    const tokens = Math.min(BURST, before.tokens + (nowMs - before.usedMs) / REFILL_MS);
    const isAllowed = tokens >= 1;
    putLast(this.#allowances, key, { tokens: isAllowed ? tokens - 1 : tokens, usedMs: nowMs });
    return isAllowed;
  }

  async #writeAll(): Promise<void> {
    // Also those that are added meanwhile.
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
        if (signal.aborted || attempt === MAX_TRIES || !mayPass(error)) {
          this.#drop(faultOf(error));
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
      // Events live for an hour, or less.
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
      // By an earlier attempt, whose answer was lost.
      if (!hasReason(error, 'AlreadyExists')) throw error;
    }
  }

  /**
   * By the core API: `events.k8s.io/v1` lets nobody change a note. So `kubectl describe` has one line for a series,
   * and there the newest note, whose trace can still be found; not the first one, nor a line for each time.
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

  #drop(fault: Fault): void {
    this.#dropped += 1;
    this.#metrics?.dropped();
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#toldMs.get(fault.reason) ?? -Infinity) < LOG_PERIOD_MS) return;
    this.#toldMs.set(fault.reason, nowMs);
    this.#log.warn({ ...fault, dropped: this.#dropped }, 'an Event was dropped');
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

/** What a refusal by the rules tells once, it tells each time. */
function mayPass(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 0 || error.status === 429 || error.status >= 500);
}

/** At most `maxBytes` of UTF-8, and no part of a character. */
function clip(text: string, maxBytes: number): string {
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

/** Removes what was used last before `minUsedMs`, and the oldest ones of too many. */
function trim(cache: Map<string, { usedMs: number }>, minUsedMs: number): void {
  for (const [key, { usedMs }] of cache) {
    if (usedMs >= minUsedMs && cache.size < MAX_CACHED) return;
    cache.delete(key);
  }
}
