import type { Clock } from '../clock/clock.ts';
import { orAborted } from './abort.ts';
import { Backoff } from './backoff.ts';
import { faultOf } from './fault.ts';
import { hasReason, type KubeClient, KubeError, type KubeLogger, type KubeRequest } from './kube-client.ts';
import { type KubeObject, objectKey, resourcePath, type ResourceType } from './objects.ts';
import { oneLine } from './one-line.ts';
import { isUnanswered } from './outage.ts';
import { statusError } from './refusal.ts';
import { type ListPage, listPage } from './resources.ts';

/**
 * An object as it was seen last. Of one object come `added`, any number of `updated`, `deleted`, in this order; an
 * object that was deleted and made again under its name comes as `deleted` and `added`, even where both were missed.
 */
export interface Change<T extends KubeObject> {
  readonly type: 'added' | 'updated' | 'deleted';
  readonly object: T;
  /** Of `updated`: as it was before. The same object on a resync. */
  readonly old?: T;
}

export interface ReflectorMetrics {
  /** A list is complete. */
  listed(): void;
  /** A watch begins. */
  watched(): void;
  /** Something came by a watch, if only a bookmark. @param epochMs wall time. */
  eventAt(epochMs: number): void;
  /** Objects in the store. */
  items(count: number): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  readonly resource: ResourceType;
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects of one page of a list. Default 500. */
  readonly pageSize?: number | undefined;
  /** How often every object comes again as `updated`. Absent: never. */
  readonly resyncMs?: number | undefined;
  /**
   * What is kept of an object; must not throw. Default: all but `metadata.managedFields`. An object may come without
   * `apiVersion` and `kind`: a list has them only once.
   */
  readonly transform?: ((object: KubeObject) => T) | undefined;
  /** Called with each change, in order. What it throws is logged. */
  readonly onChange: (change: Change<T>) => void;
  readonly metrics?: ReflectorMetrics | undefined;
}

const DEFAULT_PAGE_SIZE = 500;
const LIST_TIMEOUT_MS = 60_000;

/** A watch asks the server to end it after 5 to 10 minutes. Source: client-go's reflector, `minWatchTimeout`. */
const MIN_WATCH_SECONDS = 300;

/** The server ends a watch in time; one that is open for so much longer has died unnoticed. */
const WATCH_GRACE_MS = 30_000;

/** A watch that ends sooner than this, in good order, was cut short by something on the way. */
const EARLY_MS = 10_000;

/** Watches that are cut short begin no closer together than this. */
const MIN_DISTANCE_MS = 2_000;

/** Longest wait after a failure: changes are seen so late at most once the API server is back. */
const MAX_DELAY_MS = 10_000;
/** What fails again within this time, for the same reason, is one spell of trouble. */
const SPELL_MS = 60_000;

/**
 * The server did not get to look at the `resourceVersion`: there was no answer, or one from a server that is starting
 * or busy. The next watch may begin where the last one ended.
 */
const RESUMABLE = new Set([0, 401, 403, 429, 503]);

/**
 * A copy of all objects of one kind that follows the API server: a list in pages, then watches, each from where the
 * last one ended. It lists again only when a watch can no longer tell what was missed.
 */
export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #transform: (object: KubeObject) => T;
  readonly #backoff: Backoff;
  #lastFailure: { readonly reason: string; readonly atMs: number } | undefined;
  readonly #objects = new Map<string, T>();
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;
  #isCutShort = false;
  #isAway = false;
  /** Up to where the store is complete; undefined when only a list can tell. */
  #resourceVersion: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#transform = options.transform ?? (dropManagedFields as (object: KubeObject) => T);
    this.#backoff = new Backoff({ ...options, maxMs: MAX_DELAY_MS });
  }

  /** A list has been complete. It stays so while the API server is away. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): Iterable<T> {
    return this.#objects.values();
  }

  /** Resolves once {@link hasSynced}; rejects with `signal.reason`. */
  untilSynced(signal: AbortSignal): Promise<void> {
    return orAborted(this.#synced.promise, signal);
  }

  /** Resolves when `signal` aborts, and for no other reason: whatever fails is logged and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#resync(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#resourceVersion ??= await this.#list(signal);
        const lastedMs = await this.#watch(this.#resourceVersion, signal);
        await this.#pace(lastedMs, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
  }

  /** What cuts a watch short may cut all of them short: no storm, and no long wait either, since changes wait as well. */
  async #pace(lastedMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log, resource } = this.#options;
    const isEarly = lastedMs < EARLY_MS;
    if (isEarly && !this.#isCutShort) {
      log.warn({ resource: resource.plural, lastedMs: Math.round(lastedMs) }, 'watches are cut short');
    }
    this.#isCutShort = isEarly;
    if (lastedMs < MIN_DISTANCE_MS) await clock.sleep(MIN_DISTANCE_MS - lastedMs, signal);
  }

  async #recover(cause: unknown, signal: AbortSignal): Promise<void> {
    const { clock, log, resource } = this.#options;
    const { status, retryAfterMs = 0 } = cause instanceof KubeError ? cause : {};
    if (!RESUMABLE.has(status ?? NaN)) this.#resourceVersion = undefined;
    // It is back: what it says now is no reason to wait for as long as for an answer.
    if (this.#isAway && !isUnanswered(cause)) this.#backoff.reset();
    this.#isAway = isUnanswered(cause);
    const delayMs = Math.round(Math.max(this.#backoff.nextMs(), retryAfterMs));
    const hint = hasReason(cause, 'NotFound') && { hint: 'is its CustomResourceDefinition installed?' };
    const fields = { resource: resource.plural, error: messageOf(cause), ...hint, delayMs };
    if (hasReason(cause, 'Expired', 'Gone')) log.info(fields, 'watch fell behind; listing again');
    else log[this.#isNews(cause) ? 'warn' : 'debug'](fields, 'list or watch failed; trying again');
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }

  /** A spell of trouble is told once, however long it lasts. */
  #isNews(cause: unknown): boolean {
    const before = this.#lastFailure;
    const { reason } = faultOf(cause);
    const atMs = this.#options.clock.monotonicMs();
    this.#lastFailure = { reason, atMs };
    return before?.reason !== reason || atMs - before.atMs > SPELL_MS;
  }

  /** @returns the `resourceVersion` of the list. */
  async #list(signal: AbortSignal): Promise<string> {
    const { client, resource, namespace, labelSelector, fieldSelector, metrics } = this.#options;
    const limit = this.#options.pageSize ?? DEFAULT_PAGE_SIZE;
    const query = { namespace, labelSelector, fieldSelector, limit, timeoutMs: LIST_TIMEOUT_MS };
    const listed = new Set<string>();
    let page: ListPage<KubeObject> | undefined;
    do {
      // A token that has expired is a 410, and the list begins anew.
      const next = { ...query, continue: page?.metadata.continue };
      page = await listPage(client, resource, next, signal);
      for (const item of page.items) listed.add(this.#put(item));
    } while (page.metadata.continue);
    for (const [key, object] of this.#objects) if (!listed.has(key)) this.#remove(key, object);
    metrics?.listed();
    metrics?.items(this.#objects.size);
    this.#hasSynced = true;
    this.#synced.resolve();
    return page.metadata.resourceVersion;
  }

  /** @returns how long it lasted, in ms. */
  async #watch(resourceVersion: string, signal: AbortSignal): Promise<number> {
    const { client, clock, random, resource, metrics } = this.#options;
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const timeoutSeconds = Math.floor(MIN_WATCH_SECONDS * (1 + random()));
    const request: KubeRequest = {
      method: 'GET',
      path: resourcePath(resource, { namespace }),
      query: {
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion,
        timeoutSeconds,
        labelSelector,
        fieldSelector,
      },
    };
    const startMs = clock.monotonicMs();
    using deadline = clock.deadline(timeoutSeconds * 1_000 + WATCH_GRACE_MS, signal);
    metrics?.watched();
    try {
      for await (const event of client.stream(request, deadline.signal)) this.#take(request, event);
    } catch (error) {
      if (deadline.signal.aborted && !signal.aborted) throw watchFault(request, 'did not end in time');
      throw error;
    }
    return clock.monotonicMs() - startMs;
  }

  #take(request: KubeRequest, event: unknown): void {
    const { clock, metrics } = this.#options;
    const { type, object } = event as WatchEvent;
    if (type === 'ERROR') throw statusError(request, object, clock);
    const { resourceVersion } = object.metadata;
    if (type === 'ADDED' || type === 'MODIFIED') this.#put(object);
    else if (type === 'DELETED') this.#delete(object);
    this.#resourceVersion = resourceVersion;
    metrics?.eventAt(clock.now());
    metrics?.items(this.#objects.size);
  }

  /** @returns the object's key. */
  #put(found: KubeObject): string {
    const key = objectKey(found);
    let old = this.#objects.get(key);
    if (old !== undefined && isSameObject(old, found)) {
      if (old.metadata.resourceVersion === found.metadata.resourceVersion) return key;
    } else if (old !== undefined) {
      this.#remove(key, old);
      old = undefined;
    }
    const object = this.#transform(found);
    this.#objects.set(key, object);
    this.#tell(old === undefined ? { type: 'added', object } : { type: 'updated', object, old });
    return key;
  }

  #delete(found: KubeObject): void {
    const key = objectKey(found);
    const old = this.#objects.get(key);
    if (old !== undefined) this.#remove(key, isSameObject(old, found) ? this.#transform(found) : old);
  }

  #remove(key: string, object: T): void {
    this.#objects.delete(key);
    this.#tell({ type: 'deleted', object });
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { clock, resyncMs } = this.#options;
    if (resyncMs === undefined) return;
    while (!signal.aborted) {
      await clock.sleep(resyncMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      for (const object of this.#objects.values()) this.#tell({ type: 'updated', object, old: object });
    }
  }

  #tell(change: Change<T>): void {
    const { log, onChange, resource } = this.#options;
    try {
      onChange(change);
    } catch (error) {
      const fields = { resource: resource.plural, key: objectKey(change.object), change: change.type };
      log.error({ ...fields, error: messageOf(error) }, 'handler of a change failed');
    }
  }
}

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject;
}

function dropManagedFields(object: KubeObject): KubeObject {
  const metadata: object & { managedFields?: unknown } = object.metadata;
  delete metadata.managedFields;
  return object;
}

/** And not a namesake that was made after it. */
function isSameObject(one: KubeObject, other: KubeObject): boolean {
  return one.metadata.uid === other.metadata.uid;
}

function watchFault({ method, path }: KubeRequest, what: string): KubeError {
  return new KubeError(`${method} ${path}: the watch ${what}`, { status: 0, reason: 'WatchEnded' });
}

function messageOf(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}
