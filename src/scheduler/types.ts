import type { SchedulePlan } from '../api/plan.ts';

/** One thing that runs by a schedule: a target of a probe. */
export interface ScheduleEntry {
  /** Unique among the entries, for example the probe's uid and the target's name. */
  readonly key: string;
  /** Whose share of the slots its runs take: the namespace. Never changes for a key. */
  readonly group: string;
  readonly schedule: SchedulePlan;
  /** Places the due times of an interval: the probe's uid, so that its targets share them. */
  readonly seed: string;
  /** Wall time of the last known start, for an entry that is new here: tells which runs were missed. */
  readonly lastStartMs?: number;
  /** How old `lastStartMs` may be by the time that it is read, for want of writing it down. Default 0. */
  readonly lastStartSlackMs?: number;
  /**
   * Wall time up to which due times were met, and after which none was, for an entry that is new here: what another
   * scheduler says of itself that ended in good order. `lastStartSlackMs` then does not count.
   */
  readonly startedUntilMs?: number | undefined;
  /**
   * How late a run may still start after it was missed. When absent, an interval's latest missed run always starts, and
   * one by cron within 10 minutes.
   */
  readonly startingDeadlineMs?: number;
  /**
   * For a new or edited probe: an interval's first run does not wait for its due time. To be given once, with the change
   * that asks for it. Cron keeps to its times.
   */
  readonly startsAtOnce?: boolean;
  /** Whether only {@link Scheduler.runNow} starts runs. */
  readonly suspended?: boolean;
}

/**
 * What makes a run start: its due time; a new or edited probe; somebody's request; or a due time that passed while
 * nothing could start.
 */
export type Trigger = 'schedule' | 'at-once' | 'run-now' | 'catch-up';

export interface DueRun {
  readonly key: string;
  /** Wall time at which it was to start. */
  readonly dueMs: number;
  /** How much later than `dueMs` it starts. */
  readonly startLagMs: number;
  readonly trigger: Trigger;
}

export interface SchedulerMetrics {
  started(trigger: Trigger, lagMs: number): void;
  /** A run fell due while the one before it was under way or waited: they are one. */
  coalesced(): void;
  /** `runs` due times passed without a start: an estimate where cron's are uneven. */
  missed(runs: number): void;
  inFlight(runs: number): void;
  /** Runs that wait for a slot. */
  waiting(runs: number): void;
  entries(count: number): void;
}
