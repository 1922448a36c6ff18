import type { Clock } from '../clock/clock.ts';
import { abortable } from './abort.ts';
import { Backoff } from './backoff.ts';
import { errorFields } from './error-fields.ts';
import { errorFromStatus } from './error-response.ts';
import { hasReason, type KubeClient, KubeError, type KubeLogger, type KubeRequest } from './kube-client.ts';
import { type KubeObject, objectKey, resourcePath, type ResourceType } from './objects.ts';
import { oneLine } from './one-line.ts';
import { isUnavailable } from './outage-backoff.ts';
import { type ListPage, listPage } from './resources.ts';

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

/** A watch that is still open this long after its timeout is assumed to be dead. */
const WATCH_GRACE_MS = 30_000;

/** If a watch closes without an error sooner than this, a proxy or load balancer may have cut it short. */
const EARLY_CLOSE_MS = 10_000;

/** Minimum time from the start of one watch to the start of the next. */
const MIN_WATCH_INTERVAL_MS = 2_000;

/** Maximum delay after a failure. Once the API server is back, changes are seen within this time. */
const MAX_DELAY_MS = 10_000;
/** Failures with the same reason belong to one episode if they are at most this far apart. */
const EPISODE_GAP_MS = 60_000;

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
  readonly #backoff: Backoff;
  #lastFailure: { readonly reason: string; readonly atMs: number } | undefined;
  readonly #objects = new Map<string, T>();
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;
  #wasClosedEarly = false;
  #wasUnavailable = false;
  /** Version from which the next watch resumes. Undefined if a new list is needed first. */
  #resourceVersion: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#transform = options.transform ?? (dropManagedFields as (object: KubeObject) => T);
    this.#backoff = new Backoff({ ...options, maxMs: MAX_DELAY_MS });
  }

  /** True once the first list is complete. It stays true while the API server is unreachable. */
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

  /** Resolves once {@link hasSynced} is true; rejects with `signal.reason` if `signal` aborts first. */
  untilSynced(signal: AbortSignal): Promise<void> {
    return abortable(this.#synced.promise, signal);
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
    const { clock, log, resource } = this.#options;
    const isEarly = lastedMs < EARLY_CLOSE_MS;
    if (isEarly && !this.#wasClosedEarly) {
      log.warn(
        { resource: resource.plural, lastedMs: Math.round(lastedMs) },
        'watch closed early; reopening',
      );
    }
    this.#wasClosedEarly = isEarly;
    if (lastedMs < MIN_WATCH_INTERVAL_MS) await clock.sleep(MIN_WATCH_INTERVAL_MS - lastedMs, signal);
  }

  async #recover(cause: unknown, signal: AbortSignal): Promise<void> {
    const { clock, log, resource } = this.#options;
    const { status, retryAfterMs = 0 } = cause instanceof KubeError ? cause : {};
    if (!RESUMABLE_STATUSES.has(status ?? NaN)) this.#resourceVersion = undefined;
    // The server is back, so the long delays of the outage no longer apply.
    if (this.#wasUnavailable && !isUnavailable(cause)) this.#backoff.reset();
    this.#wasUnavailable = isUnavailable(cause);
    const delayMs = Math.round(Math.max(this.#backoff.nextMs(), retryAfterMs));
    const hint = hasReason(cause, 'NotFound') && { hint: 'is the CustomResourceDefinition installed?' };
    const fields = { resource: resource.plural, error: messageOf(cause), ...hint, delayMs };
    if (hasReason(cause, 'Expired', 'Gone')) log.info(fields, 'watch expired; relisting');
    else log[this.#isNewFailure(cause) ? 'warn' : 'debug'](fields, 'list or watch failed; retrying');
    await clock.sleep(delayMs, signal).catch(() => undefined);
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
    const { client, resource, namespace, labelSelector, fieldSelector, metrics } = this.#options;
    const limit = this.#options.pageSize ?? DEFAULT_PAGE_SIZE;
    const query = { namespace, labelSelector, fieldSelector, limit, timeoutMs: LIST_TIMEOUT_MS };
    const listed = new Set<string>();
    let page: ListPage<KubeObject> | undefined;
    do {
      // If the continue token has expired, the server responds with 410 and the list starts over.
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

  /** @returns the duration of the watch, in ms. */
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
      for await (const event of client.stream(request, deadline.signal)) this.#handleEvent(request, event);
    } catch (error) {
      if (deadline.signal.aborted && !signal.aborted) throw watchError(request, 'was not closed in time');
      throw error;
    }
    return clock.monotonicMs() - startMs;
  }

  #handleEvent(request: KubeRequest, event: unknown): void {
    const { clock, metrics } = this.#options;
    const { type, object } = event as WatchEvent;
    if (type === 'ERROR') throw errorFromStatus(request, object, clock);
    const { resourceVersion } = object.metadata;
    if (type === 'ADDED' || type === 'MODIFIED') this.#put(object);
    else if (type === 'DELETED') this.#delete(object);
    this.#resourceVersion = resourceVersion;
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

  #notify(change: Change<T>): void {
    const { log, onChange, resource } = this.#options;
    try {
      onChange(change);
    } catch (error) {
      const fields = { resource: resource.plural, key: objectKey(change.object), change: change.type };
      log.error({ ...fields, error: messageOf(error) }, 'change handler failed');
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

/** False if the object was deleted and recreated. */
function isSameObject(one: KubeObject, other: KubeObject): boolean {
  return one.metadata.uid === other.metadata.uid;
}

function watchError({ method, path }: KubeRequest, what: string): KubeError {
  return new KubeError(`${method} ${path}: the watch ${what}`, { status: 0, reason: 'WatchEnded' });
}

function messageOf(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}
