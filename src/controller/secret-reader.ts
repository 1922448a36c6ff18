import { ReasonedError } from '../api/reasons.ts';
import type { Clock } from '../clock/clock.ts';
import { abortable } from '../kube/abort.ts';
import { hasReason, type KubeClient, KubeError } from '../kube/kube-client.ts';
import type { KubeObject, ResourceType } from '../kube/objects.ts';
import { OutageBackoff } from '../kube/outage-backoff.ts';
import { getObject } from '../kube/resources.ts';

/** Base64-encoded values of a Secret, by key. */
export type SecretData = Readonly<Record<string, string>>;

export interface SecretReader {
  /** @throws {ReasonedError} `SecretMissing`, or `ProberError` if the read fails for another reason. */
  read(namespace: string, name: string, signal: AbortSignal): Promise<SecretData>;
}

export interface SecretReaderDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
}

const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' };

/** Runs that start together share one read. Short enough that the next run uses a rotated Secret. */
const FRESH_MS = 500;
const TIMEOUT_MS = 5_000;
/** A run waits this long for the API server before it uses a cached Secret. */
const CACHE_FALLBACK_MS = 250;
/** Longest delay until a rotated Secret is read after the API server recovers. */
const MAX_BACKOFF_MS = 2_000;
/** Far more than there are probes. Beyond this, the Secret that was read longest ago is evicted. */
const MAX_CACHED = 20_000;

interface CachedSecret {
  readonly data: SecretData;
  /** Monotonic time. */
  readonly readAtMs: number;
}

/**
 * Reads each Secret with a `get`, so the operator needs no permission to list Secrets. While the API server is
 * unreachable, the cached Secret is used and probes keep running.
 */
export class KubeSecretReader implements SecretReader {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #outage: OutageBackoff;
  readonly #cache = new Map<string, CachedSecret>();
  readonly #inFlight = new Map<string, Promise<SecretData>>();

  constructor({ client, clock, random }: SecretReaderDeps) {
    this.#client = client;
    this.#clock = clock;
    this.#outage = new OutageBackoff({ clock, random, maxMs: MAX_BACKOFF_MS });
  }

  async read(namespace: string, name: string, signal: AbortSignal): Promise<SecretData> {
    const key = `${namespace}/${name}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined && (this.#isFresh(cached) || this.#outage.remainingMs > 0)) return cached.data;

    const reading = this.#readShared(key, { namespace, name });
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
      throw new ReasonedError('ProberError', `Secret ${key} cannot be read: ${why}`, { cause: error });
    }
  }

  #isFresh({ readAtMs }: CachedSecret): boolean {
    return this.#clock.monotonicMs() - readAtMs < FRESH_MS;
  }

  /** Ignores the caller's signal, because another run may be waiting for the same read. */
  #readShared(key: string, name: { namespace: string; name: string }): Promise<SecretData> {
    const inFlight = this.#inFlight.get(key);
    if (inFlight !== undefined) return inFlight;
    const reading = this.#get(key, name).finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, reading);
    // Avoids an unhandled rejection if no caller is waiting any more when the read fails.
    reading.catch(() => undefined);
    return reading;
  }

  async #get(key: string, name: { namespace: string; name: string }): Promise<SecretData> {
    using deadline = this.#clock.deadline(TIMEOUT_MS);
    this.#evictIfFull();
    try {
      const { data = {} } = await getObject<KubeObject & { data?: SecretData }>(
        this.#client,
        SECRETS,
        name,
        deadline.signal,
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

function missingMessage(key: string, error: KubeError): string {
  return error.reason === 'NotFound'
    ? `Secret ${key} does not exist`
    : `Secret ${key} cannot be read: the operator has no RBAC permission to get it`;
}
