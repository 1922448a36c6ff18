import { isDeepStrictEqual } from 'node:util';

import { RUN_REQUEST_ANNOTATION } from '../api/probe-status.ts';
import { STORAGE_PROBES } from '../api/storage-probe.ts';
import type { Clock } from '../clock/clock.ts';
import type { KubeClient, KubeLogger } from '../kube/kube-client.ts';
import { type KubeObject, objectKey } from '../kube/objects.ts';
import { type Change, Reflector, type ReflectorMetrics } from '../kube/reflector.ts';
import type { ProbeObject } from './probe-reconciler.ts';

export interface ProbeCacheOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** If empty, all namespaces are watched. */
  readonly namespaces: readonly string[];
  readonly metrics?: ProbeCacheMetrics;
}

export interface ProbeCacheMetrics extends Omit<ReflectorMetrics, 'forbidden'> {
  /** Called with the number of listed namespaces that are skipped because list or watch is forbidden. */
  forbiddenNamespaces(count: number): void;
}

/**
 * When access to a listed namespace is withdrawn, its probes stop after this time. Shorter losses are ignored, because
 * a starting API server may refuse valid requests.
 */
const KEEP_WHILE_FORBIDDEN_MS = 60_000;
/** Maximum number of namespaces in one log line. */
const MAX_LOGGED = 20;

/**
 * The StorageProbes in the watched namespaces. A listed namespace that the operator may not read is skipped and retried,
 * and does not affect the others.
 */
export class ProbeCache {
  readonly #reflectors: ReadonlyMap<string, Reflector<ProbeObject>>;
  readonly #log: KubeLogger;
  #listener: ((key: string) => void) | undefined;

  constructor({ namespaces, metrics, ...options }: ProbeCacheOptions) {
    this.#log = options.log;
    const watched = namespaces.length === 0 ? [undefined] : namespaces;
    const reflectorMetrics = metrics && {
      ...metrics,
      items: () => {
        metrics.items(this.size);
      },
      forbidden: () => {
        metrics.forbiddenNamespaces(this.#sumOf(({ isForbidden }) => Number(isForbidden)));
      },
    };
    this.#reflectors = new Map(
      watched.map((namespace) => [
        namespace ?? '',
        new Reflector({
          ...options,
          resource: STORAGE_PROBES,
          namespace,
          keepWhileForbiddenMs: namespace === undefined ? undefined : KEEP_WHILE_FORBIDDEN_MS,
          transform: trim,
          metrics: reflectorMetrics,
          onChange: (change) => {
            if (needsReconcile(change)) this.#listener?.(objectKey(change.object));
          },
        }),
      ]),
    );
  }

  /** True once all namespaces that are not forbidden have been read, and at least one has. */
  get hasSynced(): boolean {
    const reflectors = [...this.#reflectors.values()];
    return (
      reflectors.some(({ hasSynced }) => hasSynced) &&
      reflectors.every(({ hasSynced, isForbidden }) => hasSynced || isForbidden)
    );
  }

  get size(): number {
    return this.#sumOf(({ size }) => size);
  }

  /** Resolves once {@link hasSynced} is true. */
  async untilSynced(signal: AbortSignal): Promise<void> {
    const reflectors = [...this.#reflectors.values()];
    await Promise.all(reflectors.map((reflector) => reflector.untilSyncedOrForbidden(signal)));
    await Promise.race(reflectors.map((reflector) => reflector.untilSynced(signal)));
    const skipped = [...this.#reflectors].flatMap(([name, { hasSynced }]) => (hasSynced ? [] : [name]));
    if (skipped.length > 0) {
      const namespaces = skipped.slice(0, MAX_LOGGED);
      this.#log.warn({ namespaces, count: skipped.length }, 'namespaces skipped: list or watch is forbidden');
    }
  }

  /** Watches the API server until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#reflectors.values(), (reflector) => reflector.run(signal)));
  }

  get(key: string): ProbeObject | undefined {
    const namespace = key.split('/', 1)[0] ?? '';
    return (this.#reflectors.get(namespace) ?? this.#reflectors.get(''))?.get(key);
  }

  /**
   * Calls `listener` for every existing probe, then for each change that needs a reconcile. Disposing of the result
   * ends the subscription.
   */
  subscribe(listener: (key: string) => void): Disposable {
    this.#listener = listener;
    for (const reflector of this.#reflectors.values()) {
      for (const probe of reflector.list()) listener(objectKey(probe));
    }
    return {
      [Symbol.dispose]: () => {
        if (this.#listener === listener) this.#listener = undefined;
      },
    };
  }

  #sumOf(value: (reflector: Reflector<ProbeObject>) => number): number {
    return [...this.#reflectors.values()].reduce((sum, reflector) => sum + value(reflector), 0);
  }
}

/** Filters out status changes, because most of them are the operator's own writes. */
function needsReconcile({ old, object }: Change<ProbeObject>): boolean {
  return old === undefined || !isDeepStrictEqual(reconcileInputs(old), reconcileInputs(object));
}

function reconcileInputs({ metadata }: ProbeObject): unknown[] {
  const { annotations, deletionTimestamp, generation, uid } = metadata;
  return [uid, generation, deletionTimestamp, annotations?.[RUN_REQUEST_ANNOTATION]];
}

/** Removes large fields that the operator does not use. */
function trim(object: KubeObject & { metadata: { managedFields?: unknown } }): ProbeObject {
  const { managedFields: _, annotations = {}, ...metadata } = object.metadata;
  const kept = Object.entries(annotations).filter(([name]) => name === RUN_REQUEST_ANNOTATION);
  return { ...object, metadata: { ...metadata, annotations: Object.fromEntries(kept) } };
}
