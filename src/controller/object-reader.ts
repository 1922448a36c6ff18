import type { ObjectData } from '../api/object-data.ts';
import { ReasonedError } from '../api/reasons.ts';
import type { ObjectKind } from '../api/target.ts';
import type { Clock } from '../clock/clock.ts';
import { abortable } from '../kube/abort.ts';
import { hasReason, type KubeClient, KubeError } from '../kube/kube-client.ts';
import type { KubeObject, ResourceType } from '../kube/objects.ts';
import { OutageBackoff } from '../kube/outage-backoff.ts';
import { getObject } from '../kube/resources.ts';

export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

export interface ObjectReader {
  /** @throws {ReasonedError} `SecretMissing`, or `ProberError` if the read fails for another reason. */
  read(kind: ObjectKind, name: ObjectName, signal: AbortSignal): Promise<ObjectData>;
}

export interface ObjectReaderDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
}

const TYPES = {
  Secret: { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' },
  ConfigMap: { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' },
} as const satisfies Record<ObjectKind, ResourceType>;

/** Runs that start together share one read. Short enough that the next run uses a rotated Secret. */
const FRESH_MS = 500;
const TIMEOUT_MS = 5_000;
/** A run waits this long for the API server before it uses a cached object. */
const CACHE_FALLBACK_MS = 250;
/** Longest delay until a rotated Secret is read after the API server recovers. */
const MAX_BACKOFF_MS = 2_000;
/** Far more than there are probes. Beyond this, the object that was read longest ago is evicted. */
const MAX_CACHED = 20_000;

interface CachedObject {
  readonly data: ObjectData;
  /** Monotonic time. */
  readonly readAtMs: number;
}

/**
 * Reads each Secret and ConfigMap with a `get`, so the operator needs no permission to list them. While the API server is
 * unreachable, the cached object is used and probes keep running.
 */
export class KubeObjectReader implements ObjectReader {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #outage: OutageBackoff;
  readonly #cache = new Map<string, CachedObject>();
  readonly #inFlight = new Map<string, Promise<ObjectData>>();

  constructor({ client, clock, random }: ObjectReaderDeps) {
    this.#client = client;
    this.#clock = clock;
    this.#outage = new OutageBackoff({ clock, random, maxMs: MAX_BACKOFF_MS });
  }

  async read(kind: ObjectKind, name: ObjectName, signal: AbortSignal): Promise<ObjectData> {
    const key = `${kind} ${name.namespace}/${name.name}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined && (this.#isFresh(cached) || this.#outage.remainingMs > 0)) return cached.data;

    const reading = this.#readShared(key, kind, name);
    using deadline = this.#clock.deadline(cached === undefined ? TIMEOUT_MS : CACHE_FALLBACK_MS, signal);
    try {
      return await abortable(reading, deadline.signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#outage.recordError(error);
      if (error instanceof KubeError && hasReason(error, 'NotFound', 'Forbidden')) {
        throw new ReasonedError('SecretMissing', missingMessage(key, error), { cause: error });
      }
      if (cached !== undefined) return cached.data;
      const why = error instanceof KubeError ? error.message : 'the API server is not responding';
      throw new ReasonedError('ProberError', `${key} cannot be read: ${why}`, { cause: error });
    }
  }

  #isFresh({ readAtMs }: CachedObject): boolean {
    return this.#clock.monotonicMs() - readAtMs < FRESH_MS;
  }

  /** Ignores the caller's signal, because another run may be waiting for the same read. */
  #readShared(key: string, kind: ObjectKind, name: ObjectName): Promise<ObjectData> {
    const inFlight = this.#inFlight.get(key);
    if (inFlight !== undefined) return inFlight;
    const reading = this.#get(key, kind, name).finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, reading);
    // Avoids an unhandled rejection if no caller is waiting any more when the read fails.
    reading.catch(() => undefined);
    return reading;
  }

  async #get(key: string, kind: ObjectKind, name: ObjectName): Promise<ObjectData> {
    using deadline = this.#clock.deadline(TIMEOUT_MS);
    this.#evictIfFull();
    try {
      const data = decoded(
        kind,
        await getObject<StoredObject>(this.#client, TYPES[kind], name, deadline.signal),
      );
      this.#cache.delete(key);
      this.#cache.set(key, { data, readAtMs: this.#clock.monotonicMs() });
      return data;
    } catch (error) {
      if (hasReason(error, 'NotFound', 'Forbidden')) this.#cache.delete(key);
      throw error;
    }
  }

  #evictIfFull(): void {
    const [oldest] = this.#cache.keys();
    if (this.#cache.size >= MAX_CACHED && oldest !== undefined) this.#cache.delete(oldest);
  }
}

interface StoredObject extends KubeObject {
  /** Base64 in a Secret, text in a ConfigMap. */
  readonly data?: Readonly<Record<string, string>>;
  /** Only in a ConfigMap. Base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
}

function decoded(kind: ObjectKind, { data = {}, binaryData = {} }: StoredObject): ObjectData {
  return { ...bytesOf(data, kind === 'Secret' ? 'base64' : 'utf8'), ...bytesOf(binaryData, 'base64') };
}

function bytesOf(values: Readonly<Record<string, string>>, encoding: 'base64' | 'utf8'): ObjectData {
  return Object.fromEntries(Object.entries(values).map(([key, text]) => [key, Buffer.from(text, encoding)]));
}

function missingMessage(key: string, error: KubeError): string {
  return error.reason === 'NotFound'
    ? `${key} does not exist`
    : `${key} cannot be read: the operator has no RBAC permission to get it`;
}
