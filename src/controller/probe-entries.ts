import type { Condition } from '../api/conditions.ts';
import type { ProbePlan, TargetPlan } from '../api/plan.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import type { RunTarget } from '../api/run.ts';
import type { Obstacle } from './health.ts';
import type { TargetRecord } from './target-record.ts';

/** One target of a probe that the operator runs. */
export interface TargetEntry {
  plan: TargetPlan;
  record: TargetRecord;
  /** Why its runs cannot start. */
  obstacle?: Obstacle;
  /** With the credentials of its last run. */
  resolved?: RunTarget;
  /** False while something of a run may be left in the store. */
  isClean: boolean;
}

/** One StorageProbe that the operator has taken up: what it asks for, and what is known of it. */
export interface ProbeEntry {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Of the spec that {@link plan} was made of. */
  generation: number;
  /** Absent while the spec cannot be worked with. */
  plan?: ProbePlan;
  /** Why there is no plan. */
  invalid?: string;
  /** Distance of two due times; absent where there are none. */
  periodMs?: number;
  /** By name, in the order of the spec. */
  targets: Map<string, TargetEntry>;
  lastRunRequest?: string;
  /** As the API server has it. */
  status: ProbeStatus;
  /** The resource's version after the last write of the status, and as it was seen before. */
  written?: { readonly seenVersion: string | undefined; readonly version: string | undefined };
  /** Monotonic ms of the last write of the status. */
  writtenMs: number;
  /** Somebody asked for a run, and looks for what came of it. */
  isAwaited: boolean;
  /** The last ones that were told of, by Events and metrics. */
  conditions: readonly Condition[];
  /** How often in a row its Secrets were looked for in vain. */
  lookups: number;
}

/** The probe's key in the work queue and in caches: `namespace/name`. */
export function probeKey({ namespace, name }: Pick<ProbeEntry, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

/** Key of a target's runs: the same for no other target, not even of a namesake made later. */
export function runKey({ uid }: Pick<ProbeEntry, 'uid'>, target: string): string {
  return `${uid}/${target}`;
}

/** The probes that are run, by `namespace/name`. */
export class ProbeEntries {
  readonly #byKey = new Map<string, ProbeEntry>();
  readonly #byUid = new Map<string, ProbeEntry>();

  get(key: string): ProbeEntry | undefined {
    return this.#byKey.get(key);
  }

  /** What a run's key stands for, as long as that is run. */
  ofRun(key: string): { readonly entry: ProbeEntry; readonly target: TargetEntry } | undefined {
    const slash = key.indexOf('/');
    const entry = this.#byUid.get(key.slice(0, slash));
    const target = entry?.targets.get(key.slice(slash + 1));
    return entry === undefined || target === undefined ? undefined : { entry, target };
  }

  add(entry: ProbeEntry): void {
    this.#byKey.set(probeKey(entry), entry);
    this.#byUid.set(entry.uid, entry);
  }

  delete(entry: ProbeEntry): void {
    this.#byKey.delete(probeKey(entry));
    this.#byUid.delete(entry.uid);
  }

  values(): Iterable<ProbeEntry> {
    return this.#byKey.values();
  }
}
