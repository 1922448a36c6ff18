import type { DueTimes, Timetable } from './next-due.ts';
import type { ScheduleEntry } from './types.ts';

const DEFAULT_CRON_STARTING_DEADLINE_MS = 10 * 60_000;

export interface MissedRuns {
  /** Number of due times that passed without a run and get no catch-up run. */
  readonly missed: number;
  /** If true, a catch-up run should start now for the latest due time. */
  readonly shouldCatchUp: boolean;
}

const NONE_MISSED: MissedRuns = { missed: 0, shouldCatchUp: false };

/**
 * Finds the runs that were missed before a scheduler started at `nowMs`. If several due times passed without a run,
 * only the latest gets a catch-up run, and only within the entry's `startingDeadlineMs`.
 *
 * A run covers all due times up to its start. If the period is shorter than `lastStartStalenessMs`, the recorded start
 * may not be the last one, so runs that could have started without being recorded count as started.
 */
export function missedRuns(entry: ScheduleEntry, timetable: Timetable, nowMs: number): MissedRuns {
  const { lastStartMs, lastStartStalenessMs = 0, startedUntilMs } = entry;
  if (lastStartMs === undefined) return NONE_MISSED;
  const dueTimes = timetable(nowMs);
  const coveredUntilMs = Math.max(lastStartMs, startedUntilMs ?? -Infinity);
  if (coveredUntilMs >= dueTimes.latestMs) return NONE_MISSED;

  const periodMs = dueTimes.nextMs - dueTimes.latestMs;
  const stalenessMs =
    startedUntilMs === undefined && periodMs < lastStartStalenessMs ? lastStartStalenessMs : 0;
  if (stalenessMs > 0 && coveredUntilMs + stalenessMs + periodMs >= dueTimes.latestMs) return NONE_MISSED;

  return missedRunsSince(entry, coveredUntilMs + stalenessMs, dueTimes, nowMs);
}

/**
 * Returns the missed runs, assuming that no run started after `sinceMs`. `dueTimes` are the due times around `nowMs`.
 */
export function missedRunsSince(
  entry: ScheduleEntry,
  sinceMs: number,
  dueTimes: DueTimes,
  nowMs: number,
): MissedRuns {
  const passed = countDueTimes(sinceMs, dueTimes);
  return isTooLate(entry, nowMs - dueTimes.latestMs)
    ? { missed: passed, shouldCatchUp: false }
    : { missed: passed - 1, shouldCatchUp: true };
}

/**
 * Number of due times after `sinceMs`, up to and including `latestMs`. At least 1. Exact if the due times are evenly
 * spaced.
 */
export function countDueTimes(sinceMs: number, { latestMs, nextMs }: DueTimes): number {
  return Math.max(1, Math.ceil((latestMs - sinceMs) / (nextMs - latestMs)));
}

function isTooLate({ schedule, startingDeadlineMs }: ScheduleEntry, lateMs: number): boolean {
  const defaultMs = 'intervalMs' in schedule ? Infinity : DEFAULT_CRON_STARTING_DEADLINE_MS;
  return lateMs > (startingDeadlineMs ?? defaultMs);
}
