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
  readonly metrics?: ReflectorMetrics;
}

const LAST_APPLIED_ANNOTATION = 'kubectl.kubernetes.io/last-applied-configuration';

/** The StorageProbes in the watched namespaces. */
export class ProbeCache {
  readonly #reflectors: ReadonlyMap<string, Reflector<ProbeObject>>;
  #listener: ((key: string) => void) | undefined;

  constructor({ namespaces, ...options }: ProbeCacheOptions) {
    const watched = namespaces.length === 0 ? [undefined] : namespaces;
    this.#reflectors = new Map(
      watched.map((namespace) => [
        namespace ?? '',
        new Reflector({
          ...options,
          resource: STORAGE_PROBES,
          namespace,
          transform: trim,
          onChange: (change) => {
            if (needsReconcile(change)) this.#listener?.(objectKey(change.object));
          },
        }),
      ]),
    );
  }

  get hasSynced(): boolean {
    return [...this.#reflectors.values()].every(({ hasSynced }) => hasSynced);
  }

  async untilSynced(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#reflectors.values(), (reflector) => reflector.untilSynced(signal)));
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
  const { [LAST_APPLIED_ANNOTATION]: __, ...kept } = annotations;
  return { ...object, metadata: { ...metadata, annotations: kept } };
}
