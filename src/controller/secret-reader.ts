import { ReasonedError } from '../api/reasons.ts';
import type { Clock } from '../clock/clock.ts';
import { orAborted } from '../kube/abort.ts';
import { hasReason, type KubeClient, KubeError } from '../kube/kube-client.ts';
import type { KubeObject, ResourceType } from '../kube/objects.ts';
import { Outage } from '../kube/outage.ts';
import { getObject } from '../kube/resources.ts';

/** What a Secret holds, in base64, by key. */
export type SecretData = Readonly<Record<string, string>>;

export interface SecretReader {
  /** @throws {ReasonedError} `SecretMissing`; `ProberError` when the API server does not say. */
  read(namespace: string, name: string, signal: AbortSignal): Promise<SecretData>;
}

export interface SecretReaderDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
}

const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' };

/** Runs that start together share one reading; the next run sees a rotated Secret. */
const FRESH_MS = 500;
const TIMEOUT_MS = 5_000;
/** A run waits no longer than this where an older reading can stand in. */
const PATIENCE_MS = 250;
/** So late a rotated Secret is seen at most once the API server is back. */
const MAX_REST_MS = 2_000;
/** Far more than there are probes; the one read longest ago is forgotten. */
const MAX_KEPT = 20_000;

interface Reading {
  readonly data: SecretData;
  /** Monotonic. */
  readonly atMs: number;
}

/**
 * Reads Secrets one by one, by `get` alone: the operator needs no right to list them. While the API server is away,
 * what was read last stands in, so that probes go on.
 */
export class KubeSecretReader implements SecretReader {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #outage: Outage;
  readonly #kept = new Map<string, Reading>();
  readonly #underWay = new Map<string, Promise<SecretData>>();

  constructor({ client, clock, random }: SecretReaderDeps) {
    this.#client = client;
    this.#clock = clock;
    this.#outage = new Outage({ clock, random, maxMs: MAX_REST_MS });
  }

  async read(namespace: string, name: string, signal: AbortSignal): Promise<SecretData> {
    const key = `${namespace}/${name}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && (this.#isFresh(kept) || this.#outage.restMs > 0)) return kept.data;

    const reading = this.#readOnce(key, { namespace, name });
    using patience = this.#clock.deadline(kept === undefined ? TIMEOUT_MS : PATIENCE_MS, signal);
    try {
      return await orAborted(reading, patience.signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#outage.observe(error);
      if (error instanceof KubeError && hasReason(error, 'NotFound', 'Forbidden')) {
        throw new ReasonedError('SecretMissing', missing(key, error), { cause: error });
      }
      if (kept !== undefined) return kept.data;
      const why = error instanceof KubeError ? error.message : 'the API server does not answer';
      throw new ReasonedError('ProberError', `Secret ${key} cannot be read: ${why}`, { cause: error });
    }
  }

  #isFresh({ atMs }: Reading): boolean {
    return this.#clock.monotonicMs() - atMs < FRESH_MS;
  }

  /** Not bound to a caller's signal: another run may wait for the same. */
  #readOnce(key: string, name: { namespace: string; name: string }): Promise<SecretData> {
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return underWay;
    const reading = this.#get(key, name).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, reading);
    // Nobody may be waiting any more when it fails.
    reading.catch(() => undefined);
    return reading;
  }

  async #get(key: string, name: { namespace: string; name: string }): Promise<SecretData> {
    using deadline = this.#clock.deadline(TIMEOUT_MS);
    this.#bound();
    try {
      const { data = {} } = await getObject<KubeObject & { data?: SecretData }>(
        this.#client,
        SECRETS,
        name,
        deadline.signal,
      );
      this.#kept.delete(key);
      this.#kept.set(key, { data, atMs: this.#clock.monotonicMs() });
      return data;
    } catch (error) {
      if (hasReason(error, 'NotFound', 'Forbidden')) this.#kept.delete(key);
      throw error;
    }
  }

  #bound(): void {
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }
}

function missing(key: string, error: KubeError): string {
  return error.reason === 'NotFound'
    ? `Secret ${key} is not there`
    : `Secret ${key} may not be read by the operator`;
}
