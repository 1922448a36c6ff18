import type { Clock } from '../clock/clock.ts';
import { abortable } from './abort.ts';
import { Backoff } from './backoff.ts';
import { errorFields } from './error-fields.ts';
import { hasReason, type KubeClient, KubeError, type KubeLogger } from './kube-client.ts';
import { type KubeObject, objectKey, type ResourceType } from './objects.ts';
import { oneLine } from '../api/one-line.ts';
import { isUnavailable } from './outage-backoff.ts';
import { PagedList } from './paged-list.ts';
import { type WatchEvent, watchObjects } from './watch.ts';

/**
 * A change to one object. For each object, the order is `added`, any number of `updated`, then `deleted`. If an object
 * is deleted and recreated, `deleted` and `added` are reported even if the watch missed both.
 */
export interface Change<T extends KubeObject> {
  readonly type: 'added' | 'updated' | 'deleted';
  readonly object: T;
  /** Only for `updated`: the previous version. On a resync, the same object. */
  readonly old?: T;
}

export interface ReflectorMetrics {
  /** Called when a list is complete. */
  listed(): void;
  /** Called when a watch starts. */
  watched(): void;
  /** Called for each watch event, including bookmarks. @param epochMs wall time. */
  eventAt(epochMs: number): void;
  /** Called with the number of objects in the store. */
  items(count: number): void;
  /** Called when {@link Reflector.isForbidden} changes. */
  forbidden?(isForbidden: boolean): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  readonly resource: ResourceType;
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects per list page. Default 500. */
  readonly pageSize?: number | undefined;
  /**
   * If list and watch are refused with 403 for this long, all objects are reported as `deleted`, because they may no
   * longer exist. Default: they are kept.
   */
  readonly keepWhileForbiddenMs?: number | undefined;
  /** Interval at which every object is reported as `updated`. Default: no resync. */
  readonly resyncMs?: number | undefined;
  /**
   * Returns the object to store. Must not throw. Default: removes `metadata.managedFields`. Objects from a list have no
   * `apiVersion` or `kind`.
   */
  readonly transform?: ((object: KubeObject) => T) | undefined;
  /** Called with each change, in order. Errors that it throws are logged. */
  readonly onChange: (change: Change<T>) => void;
  readonly metrics?: ReflectorMetrics | undefined;
}

const DEFAULT_PAGE_SIZE = 500;
const LIST_TIMEOUT_MS = 60_000;

/** Each watch asks the server to close it after 5 to 10 minutes. Source: client-go's reflector, `minWatchTimeout`. */
const MIN_WATCH_SECONDS = 300;

/** If a watch closes without an error sooner than this, a proxy or load balancer may have cut it short. */
const EARLY_CLOSE_MS = 10_000;

/** Minimum time from the start of one watch to the start of the next. */
const MIN_WATCH_INTERVAL_MS = 2_000;

/** Maximum delay after a failure. Once the API server is back, changes are seen within this time. */
const MAX_DELAY_MS = 10_000;
/** Maximum delay after a 403, which lasts until someone grants the right. */
const MAX_FORBIDDEN_DELAY_MS = 60_000;
/** Failures with the same reason belong to one episode if they are at most this far apart. */
const EPISODE_GAP_MS = 90_000;

/**
 * Statuses that mean the server did not check the `resourceVersion`: no response, or a server that is starting or busy.
 * The next watch can resume from the same version.
 */
const RESUMABLE_STATUSES = new Set([0, 401, 403, 429, 503]);

/**
 * Keeps a local copy of all objects of one kind up to date. It reads a paged list, then opens watches, each of which
 * resumes where the previous one closed. It relists only if a watch cannot resume.
 */
export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #transform: (object: KubeObject) => T;
  readonly #pagedList: PagedList;
  readonly #backoff: Backoff;
  readonly #forbiddenBackoff: Backoff;
  #lastFailure: { readonly reason: string; readonly atMs: number } | undefined;
  readonly #objects = new Map<string, T>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #decided = Promise.withResolvers<void>();
  #hasSynced = false;
  /** Time of the first 403 since list or watch last succeeded. Monotonic. */
  #forbiddenSinceMs: number | undefined;
  #wasClosedEarly = false;
  #wasUnavailable = false;
  /** Version from which the next watch resumes. Undefined if a new list is needed first. */
  #resourceVersion: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#transform = options.transform ?? (dropManagedFields as (object: KubeObject) => T);
    this.#pagedList = new PagedList(options.client, options.resource, options.pageSize ?? DEFAULT_PAGE_SIZE);
    this.#backoff = new Backoff({ ...options, maxMs: MAX_DELAY_MS });
    this.#forbiddenBackoff = new Backoff({ ...options, maxMs: MAX_FORBIDDEN_DELAY_MS });
  }

  /** True once the first list is complete. It stays true while the API server is unreachable. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** True while the API server refuses list or watch with 403. */
  get isForbidden(): boolean {
    return this.#forbiddenSinceMs !== undefined;
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

  /** Resolves once {@link hasSynced} is true; rejects with `signal.reason` if `signal` aborts first. */
  untilSynced(signal: AbortSignal): Promise<void> {
    return abortable(this.#synced.promise, signal);
  }

  /** Resolves once the first list is complete or refused with 403. Rejects like {@link untilSynced}. */
  untilSyncedOrForbidden(signal: AbortSignal): Promise<void> {
    return abortable(this.#decided.promise, signal);
  }

  /** Runs until `signal` aborts, then resolves. Failures are logged and retried. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#resync(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#resourceVersion ??= await this.#list(signal);
        const lastedMs = await this.#watch(this.#resourceVersion, signal);
        this.#setForbidden(false);
        await this.#limitWatchRate(lastedMs, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
  }

  /**
   * Limits how fast watches are reopened. The delay is short because no changes are seen until the next watch starts.
   */
  async #limitWatchRate(lastedMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const isEarly = lastedMs < EARLY_CLOSE_MS;
    if (isEarly && !this.#wasClosedEarly) {
      log.warn({ ...this.#logFields(), lastedMs: Math.round(lastedMs) }, 'watch closed early; reopening');
    }
    this.#wasClosedEarly = isEarly;
    if (lastedMs < MIN_WATCH_INTERVAL_MS) await clock.sleep(MIN_WATCH_INTERVAL_MS - lastedMs, signal);
  }

  async #recover(cause: unknown, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const { status, retryAfterMs = 0 } = cause instanceof KubeError ? cause : {};
    if (!RESUMABLE_STATUSES.has(status ?? NaN)) this.#resourceVersion = undefined;
    if (status === 403) this.#recordForbidden();
    // The server is back, so the long delays of the outage no longer apply.
    if (this.#wasUnavailable && !isUnavailable(cause)) this.#backoff.reset();
    this.#wasUnavailable = isUnavailable(cause);
    const backoff = status === 403 ? this.#forbiddenBackoff : this.#backoff;
    const delayMs = Math.round(Math.max(backoff.nextMs(), retryAfterMs));
    const hint = hasReason(cause, 'NotFound') && { hint: 'is the CustomResourceDefinition installed?' };
    const fields = { ...this.#logFields(), error: messageOf(cause), ...hint, delayMs };
    if (hasReason(cause, 'Expired', 'Gone')) log.info(fields, 'watch expired; relisting');
    else log[this.#isNewFailure(cause) ? 'warn' : 'debug'](fields, 'list or watch failed; retrying');
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }

  #recordForbidden(): void {
    const { clock, keepWhileForbiddenMs = Infinity, log, metrics } = this.#options;
    this.#setForbidden(true);
    const forbiddenMs = clock.monotonicMs() - (this.#forbiddenSinceMs ?? Infinity);
    if (forbiddenMs < keepWhileForbiddenMs || this.#objects.size === 0) return;
    log.warn(
      { ...this.#logFields(), objects: this.#objects.size },
      'list and watch forbidden; dropped all objects',
    );
    for (const [key, object] of this.#objects) this.#remove(key, object);
    metrics?.items(0);
    this.#resourceVersion = undefined;
  }

  #setForbidden(isForbidden: boolean): void {
    if (isForbidden) this.#decided.resolve();
    if (this.isForbidden === isForbidden) return;
    this.#forbiddenSinceMs = isForbidden ? this.#options.clock.monotonicMs() : undefined;
    this.#options.metrics?.forbidden?.(isForbidden);
    if (!isForbidden) this.#options.log.info(this.#logFields(), 'list and watch allowed again');
  }

  /** False for a repeated failure, so that there is one warning per episode. */
  #isNewFailure(cause: unknown): boolean {
    const previous = this.#lastFailure;
    const { reason } = errorFields(cause);
    const atMs = this.#options.clock.monotonicMs();
    this.#lastFailure = { reason, atMs };
    return previous?.reason !== reason || atMs - previous.atMs > EPISODE_GAP_MS;
  }

  /** @returns the `resourceVersion` of the list. */
  async #list(signal: AbortSignal): Promise<string> {
    const { namespace, labelSelector, fieldSelector, metrics } = this.#options;
    const query = { namespace, labelSelector, fieldSelector, timeoutMs: LIST_TIMEOUT_MS };
    const listed = new Set<string>();
    let resourceVersion = '';
    for await (const page of this.#pagedList.pages(query, signal)) {
      for (const item of page.items) listed.add(this.#put(item));
      ({ resourceVersion } = page.metadata);
    }
    for (const [key, object] of this.#objects) if (!listed.has(key)) this.#remove(key, object);
    metrics?.listed();
    metrics?.items(this.#objects.size);
    this.#setForbidden(false);
    this.#hasSynced = true;
    this.#synced.resolve();
    this.#decided.resolve();
    return resourceVersion;
  }

  /** @returns the duration of the watch, in ms. */
  async #watch(resourceVersion: string, signal: AbortSignal): Promise<number> {
    const { clock, random, metrics } = this.#options;
    const timeoutSeconds = Math.floor(MIN_WATCH_SECONDS * (1 + random()));
    const startMs = clock.monotonicMs();
    metrics?.watched();
    const watch = watchObjects({ ...this.#options, resourceVersion, timeoutSeconds }, signal);
    for await (const event of watch) this.#handleEvent(event);
    return clock.monotonicMs() - startMs;
  }

  #handleEvent({ type, object }: WatchEvent<KubeObject>): void {
    const { clock, metrics } = this.#options;
    this.#setForbidden(false);
    if (type === 'ADDED' || type === 'MODIFIED') this.#put(object);
    else if (type === 'DELETED') this.#delete(object);
    this.#resourceVersion = object.metadata.resourceVersion;
    metrics?.eventAt(clock.now());
    metrics?.items(this.#objects.size);
  }

  /** Stores the object and reports the change. @returns the object's key. */
  #put(received: KubeObject): string {
    const key = objectKey(received);
    let old = this.#objects.get(key);
    if (old !== undefined && isSameObject(old, received)) {
      if (old.metadata.resourceVersion === received.metadata.resourceVersion) return key;
    } else if (old !== undefined) {
      this.#remove(key, old);
      old = undefined;
    }
    const object = this.#transform(received);
    this.#objects.set(key, object);
    this.#notify(old === undefined ? { type: 'added', object } : { type: 'updated', object, old });
    return key;
  }

  #delete(received: KubeObject): void {
    const key = objectKey(received);
    const old = this.#objects.get(key);
    if (old !== undefined) this.#remove(key, isSameObject(old, received) ? this.#transform(received) : old);
  }

  #remove(key: string, object: T): void {
    this.#objects.delete(key);
    this.#notify({ type: 'deleted', object });
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { clock, resyncMs } = this.#options;
    if (resyncMs === undefined) return;
    while (!signal.aborted) {
      await clock.sleep(resyncMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      for (const object of this.#objects.values()) this.#notify({ type: 'updated', object, old: object });
    }
  }

  #logFields(): object {
    const { resource, namespace } = this.#options;
    return { resource: resource.plural, ...(namespace !== undefined && { namespace }) };
  }

  #notify(change: Change<T>): void {
    const { log, onChange } = this.#options;
    try {
      onChange(change);
    } catch (error) {
      const fields = { ...this.#logFields(), key: objectKey(change.object), change: change.type };
      log.error({ ...fields, error: messageOf(error) }, 'change handler failed');
    }
  }
}

function dropManagedFields(object: KubeObject): KubeObject {
  const metadata: object & { managedFields?: unknown } = object.metadata;
  delete metadata.managedFields;
  return object;
}

/** False if the object was deleted and recreated. */
function isSameObject(one: KubeObject, other: KubeObject): boolean {
  return one.metadata.uid === other.metadata.uid;
}

function messageOf(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}
