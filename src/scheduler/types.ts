import type { SchedulePlan } from '../api/plan.ts';

/** A target of a probe, with its schedule. */
export interface ScheduleEntry {
  /** Unique among entries, for example the probe's UID and the target's name. */
  readonly key: string;
  /** Group for the fair sharing of slots: the namespace. Never changes for a key. */
  readonly group: string;
  readonly schedule: SchedulePlan;
  /**
   * Determines the offset of an interval's due times. Set to the probe's UID, so that all its targets are due together.
   */
  readonly seed: string;
  /** Wall time of the last known start. Read only when the entry is added, to find missed runs. */
  readonly lastStartMs?: number;
  /** How far `lastStartMs` may lag behind the actual last start, because not every start is recorded. Default 0. */
  readonly lastStartStalenessMs?: number;
  /**
   * Wall time up to which the previous scheduler started every due run. It started no run due later. Absent if it did
   * not stop cleanly. Read only when the entry is added. If set, `lastStartStalenessMs` is ignored.
   */
  readonly startedUntilMs?: number | undefined;
  /** How late a missed run may still start. Default: no limit for an interval, 10 minutes for a cron schedule. */
  readonly startingDeadlineMs?: number;
  /**
   * For a new or edited probe: if true, the first run of an interval does not wait for its due time. Set it only in the
   * call that adds or changes the entry. Ignored for cron.
   */
  readonly startsAtOnce?: boolean;
  /** If true, only {@link Scheduler.runNow} starts runs. */
  readonly suspended?: boolean;
}

/** Why a run starts: its due time, a new or edited probe, a manual request, or a missed due time. */
export type Trigger = 'schedule' | 'at-once' | 'run-now' | 'catch-up';

export interface DueRun {
  readonly key: string;
  /** Wall time at which the run was due. */
  readonly dueMs: number;
  /** Delay between `dueMs` and the start. */
  readonly startLagMs: number;
  readonly trigger: Trigger;
}

export interface SchedulerMetrics {
  started(trigger: Trigger, lagMs: number): void;
  /** Called when a run falls due while the entry's previous run is waiting or in progress. The two runs are merged. */
  coalesced(): void;
  /** Called when due times have passed without a start. `runs` is an estimate for cron schedules with uneven gaps. */
  missed(runs: number): void;
  inFlight(runs: number): void;
  /** Runs waiting for a slot. */
  waiting(runs: number): void;
  entries(count: number): void;
}
