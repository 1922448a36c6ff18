import type { DueTimes, Timetable } from './next-due.ts';
import type { ScheduleEntry } from './types.ts';

const CRON_STARTING_DEADLINE_MS = 10 * 60_000;

export interface MissedRuns {
  /** Due times that passed, and that no run is going to make up for. */
  readonly missed: number;
  /** Whether a run is to be made now for the latest due time that passed. */
  readonly catchUp: boolean;
}

const NONE: MissedRuns = { missed: 0, catchUp: false };

/**
 * What a scheduler that begins at `nowMs` is to make of the due times before. Of several that passed without a run only
 * the latest is made up for, and not even that one when it is later than the entry's `startingDeadlineMs`.
 *
 * A run that started at or after a due time has made it. With a period shorter than `lastStartSlackMs`, the last
 * recorded start may not be the last one: runs that could have been made without a record count as made.
 */
export function missedRuns(entry: ScheduleEntry, around: Timetable, nowMs: number): MissedRuns {
  const { lastStartMs, lastStartSlackMs = 0, startedUntilMs } = entry;
  if (lastStartMs === undefined) return NONE;
  const dues = around(nowMs);
  const metMs = Math.max(lastStartMs, startedUntilMs ?? -Infinity);
  if (metMs >= dues.latestMs) return NONE;

  const periodMs = dues.nextMs - dues.latestMs;
  const slackMs = startedUntilMs === undefined && periodMs < lastStartSlackMs ? lastStartSlackMs : 0;
  if (slackMs > 0 && metMs + slackMs + periodMs >= dues.latestMs) return NONE;

  return runsPassed(entry, metMs + slackMs, dues, nowMs);
}

/** What to make of due times that passed without a run: all after `sinceMs`, up to the latest at `nowMs`. */
export function runsPassed(entry: ScheduleEntry, sinceMs: number, dues: DueTimes, nowMs: number): MissedRuns {
  const passed = duesPassed(sinceMs, dues);
  return isTooLate(entry, nowMs - dues.latestMs)
    ? { missed: passed, catchUp: false }
    : { missed: passed - 1, catchUp: true };
}

/** How many due times lie after `sinceMs`, up to and with the latest, which does: exact where they are even. */
export function duesPassed(sinceMs: number, { latestMs, nextMs }: DueTimes): number {
  return Math.max(1, Math.ceil((latestMs - sinceMs) / (nextMs - latestMs)));
}

function isTooLate({ schedule, startingDeadlineMs }: ScheduleEntry, lateMs: number): boolean {
  const defaultMs = 'intervalMs' in schedule ? Infinity : CRON_STARTING_DEADLINE_MS;
  return lateMs > (startingDeadlineMs ?? defaultMs);
}
