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
  /** [0, 1) */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly metrics?: ReflectorMetrics;
}

const LAST_APPLIED_ANNOTATION = 'kubectl.kubernetes.io/last-applied-configuration';

/** The StorageProbes of the namespaces that are watched. */
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
          transform: slim,
          onChange: (change) => {
            if (concernsUs(change)) this.#listener?.(objectKey(change.object));
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

  /** Follows the API server until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#reflectors.values(), (reflector) => reflector.run(signal)));
  }

  get(key: string): ProbeObject | undefined {
    const namespace = key.split('/', 1)[0] ?? '';
    return (this.#reflectors.get(namespace) ?? this.#reflectors.get(''))?.get(key);
  }

  /** Tells `listener` of every probe there is, and of each whose wishes change, until the subscription is disposed of. */
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

/** Whether a change is one of wishes: most are the operator's own writes of the status. */
function concernsUs({ old, object }: Change<ProbeObject>): boolean {
  return old === undefined || !isDeepStrictEqual(wishesOf(old), wishesOf(object));
}

function wishesOf({ metadata }: ProbeObject): unknown[] {
  const { annotations, deletionTimestamp, generation, uid } = metadata;
  return [uid, generation, deletionTimestamp, annotations?.[RUN_REQUEST_ANNOTATION]];
}

/** Without what is large and tells nothing here. */
function slim(object: KubeObject & { metadata: { managedFields?: unknown } }): ProbeObject {
  const { managedFields: _, annotations = {}, ...metadata } = object.metadata;
  const { [LAST_APPLIED_ANNOTATION]: __, ...kept } = annotations;
  return { ...object, metadata: { ...metadata, annotations: kept } };
}
