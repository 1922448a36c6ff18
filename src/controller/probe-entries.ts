import type { Condition } from '../api/conditions.ts';
import type { ProbePlan, TargetPlan } from '../api/plan.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import type { RunTarget } from '../api/run.ts';
import type { Obstacle } from './health.ts';
import type { TargetRecord } from './target-record.ts';

/** State of one target. */
export interface TargetEntry {
  plan: TargetPlan;
  record: TargetRecord;
  /** Set while runs of the target cannot start. */
  obstacle?: Obstacle;
  /** The target with the credentials of its last run. */
  resolved?: RunTarget;
  /** False while a run may have left objects or a bucket in the store. */
  isClean: boolean;
}

/** State of one StorageProbe: its plan and the results of its runs. */
export interface ProbeEntry {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** `metadata.generation` of the spec from which {@link plan} was created. */
  generation: number;
  /** Absent while the spec is invalid. */
  plan?: ProbePlan;
  /** Why the spec is invalid. */
  specError?: string;
  /** Time from the last due time to the next. Absent if one of these does not exist. */
  periodMs?: number;
  /** Targets by name, in the order of the spec. */
  targets: Map<string, TargetEntry>;
  lastRunRequest?: string;
  /** Status as last written to or read from the API server. */
  status: ProbeStatus;
  /** Versions of the resource: as cached before the last status write, and as returned by that write. */
  lastWrite?: { readonly seenVersion: string | undefined; readonly version: string | undefined };
  /** Monotonic time of the last status write. */
  lastWriteMs: number;
  /** Monotonic time reserved for the next heartbeat. */
  heartbeatAtMs?: number;
  /** True after a requested or initial run: the next status write does not wait for the heartbeat. */
  needsPromptStatus: boolean;
  /** Conditions last reported through Events and metrics. */
  conditions: readonly Condition[];
  /** Number of consecutive failed attempts to get valid Secrets. */
  failedSecretReads: number;
}

/** The probe's key in the work queue and in caches: `namespace/name`. */
export function probeKey({ namespace, name }: Pick<ProbeEntry, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

/** Key of a target's runs. Unique even if a probe with the same name is created later. */
export function runKey({ uid }: Pick<ProbeEntry, 'uid'>, target: string): string {
  return `${uid}/${target}`;
}

/** All probes of this prober, keyed by `namespace/name`. */
export class ProbeEntries {
  readonly #byKey = new Map<string, ProbeEntry>();
  readonly #byUid = new Map<string, ProbeEntry>();

  get(key: string): ProbeEntry | undefined {
    return this.#byKey.get(key);
  }

  /** Returns the probe and target for a run key, or undefined if the target is no longer probed. */
  byRunKey(key: string): { readonly entry: ProbeEntry; readonly target: TargetEntry } | undefined {
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
