import { createHash } from 'node:crypto';
import { Cron } from 'croner';

import type { SchedulePlan } from '../api/plan.ts';

const MINUTE_MS = 60_000;

/** Two due times in a row, with the asked time from the first up to before the second. */
export interface DueTimes {
  /** -Infinity if there was none. */
  readonly latestMs: number;
  /** Infinity if there will be none. */
  readonly nextMs: number;
}

/** The due times of a schedule around a wall time. */
export type Timetable = (atMs: number) => DueTimes;

/**
 * When the runs of a schedule are due, in wall time. It depends on nothing but its parameters: every replica, and the
 * same one after a restart, computes the same times.
 *
 * An interval's times are an offset and its multiples since the epoch. The offset comes from the seed, so that probes
 * of the same interval spread over it.
 *
 * Cron's times are exact, by the local time of its zone. Where that skips an hour in spring, times within it are left
 * out, unless hour and minute are given without `*` and steps: then the run is due as soon as the hour is skipped
 * (`30 2 * * *`: at 03:00 in Berlin). Where an hour comes twice in autumn, times within it are due both times, or only
 * the first time if hour and minute are given without `*` and steps.
 *
 * @throws for a cron expression or time zone that the API's schema would have refused.
 */
export function timetable(schedule: SchedulePlan, seed: string): Timetable {
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
  const cron = new Cron(expression, {
    paused: true,
    timezone,
    mode: '5-part',
    fixedTimeRule: 'no-wildcard',
  });
  // One answer takes some 80 µs, and at a due time every entry with this schedule asks for the same.
  let known: DueTimes = { latestMs: Infinity, nextMs: -Infinity };
  return (atMs) => {
    if (atMs < known.latestMs || atMs >= known.nextMs) {
      known = { latestMs: latestCronMs(cron, atMs), nextMs: nextCronMs(cron, atMs) };
    }
    return known;
  };
}

function latestCronMs(cron: Cron, atMs: number): number {
  // croner looks before the time that it is given.
  const [latest] = cron.previousRuns(1, new Date(Math.floor(atMs) + 1));
  return latest?.getTime() ?? -Infinity;
}

function nextCronMs(cron: Cron, atMs: number): number {
  for (let fromMs = atMs; ; fromMs += MINUTE_MS) {
    const nextMs = cron.nextRun(new Date(fromMs))?.getTime() ?? Infinity;
    // A time that is not later would make a scheduler spin.
    if (nextMs > atMs) return nextMs;
  }
}
