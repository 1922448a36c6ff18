import { createHash } from 'node:crypto';

import type { SchedulePlan } from '../api/plan.ts';
import { CronCalculator } from './cron-calculator.ts';

/** The two consecutive due times around a given time: `latestMs` is at or before it, `nextMs` after it. */
export interface DueTimes {
  /** -Infinity if the schedule has never been due. */
  readonly latestMs: number;
  /** Infinity if the schedule will never be due again. */
  readonly nextMs: number;
}

/** Returns the due times of a schedule around a given wall time. */
export type Timetable = (atMs: number) => DueTimes;

/**
 * The due times of a schedule, in wall time. They depend only on the parameters, so every replica computes the same
 * times, even after a restart.
 *
 * An interval is due at multiples of the interval since the epoch, plus an offset. The offset is derived from the seed,
 * which spreads probes with the same interval over time.
 *
 * A cron schedule follows the local time of its zone. A time is fixed if its hour and minute fields contain no `*` and
 * no step. When an hour is skipped in spring, a fixed time in that hour is due right after the skip (`30 2 * * *` at
 * 03:00 in Berlin), and other times are omitted. When an hour repeats in autumn, a fixed time in that hour is due only
 * the first time, and other times are due both times.
 *
 * @throws for a cron expression or time zone that the API schema would have rejected.
 */
export function timetableFor(schedule: SchedulePlan, seed: string): Timetable {
  if ('intervalMs' in schedule) return intervalTimetable(schedule.intervalMs, seed);
  return cronTimetable(schedule.cron, schedule.timeZone);
}

function intervalTimetable(intervalMs: number, seed: string): Timetable {
  const offsetMs = createHash('sha256').update(seed).digest().readUIntBE(0, 6) % intervalMs;
  return (atMs) => {
    const latestMs = Math.floor((atMs - offsetMs) / intervalMs) * intervalMs + offsetMs;
    return { latestMs, nextMs: latestMs + intervalMs };
  };
}

function cronTimetable(expression: string, timezone: string): Timetable {
  const calculator = new CronCalculator(expression, timezone);
  // Cached because a lookup takes about 80 µs, and at a due time every entry with this schedule needs the same result.
  let cached: DueTimes = { latestMs: Infinity, nextMs: -Infinity };
  return (atMs) => {
    if (atMs < cached.latestMs || atMs >= cached.nextMs) {
      cached = { latestMs: calculator.latestMs(atMs), nextMs: calculator.nextMs(atMs) };
    }
    return cached;
  };
}
