import { timetableFor } from '../../../src/scheduler/next-due.ts';
import type { Run } from './operator-process.ts';
import type { Probe } from './stack.ts';

/** Wall time, in ms. */
export interface TimeWindow {
  readonly fromMs: number;
  readonly toMs: number;
}

export function isWithin({ startMs }: Run, { fromMs, toMs }: TimeWindow): boolean {
  return startMs >= fromMs && startMs < toMs;
}

/** How punctually the runs in a time window started. */
export interface Punctuality {
  /** Due times in the window. */
  readonly due: number;
  /** Due times without a run, unless an earlier run covers them. */
  readonly missed: number;
  /** Additional runs for a due time that already has one. */
  readonly duplicates: number;
  /** Delays between due times and their runs, in ms, ascending. */
  readonly lagsMs: readonly number[];
}

/**
 * Computes the due times independently and matches runs to them. The first run of a new probe starts outside its due
 * times. Such a run covers a due time that follows within half an interval.
 *
 * @param runs must include the runs from half an interval before the window to `maxLagMs` after it.
 */
export function punctuality(
  probes: readonly Probe[],
  intervalMs: number,
  runs: readonly Run[],
  { fromMs, toMs }: TimeWindow,
  maxLagMs: number,
): Punctuality {
  const starts = Map.groupBy(runs, ({ probe }) => probe);
  const result = { due: 0, missed: 0, duplicates: 0, lagsMs: [] as number[] };
  for (const { key, uid } of probes) {
    const timetable = timetableFor({ intervalMs }, uid);
    const startsMs = starts.get(key)?.map(({ startMs }) => startMs) ?? [];
    for (let dueMs = timetable(fromMs).nextMs; dueMs < toMs; dueMs += intervalMs) {
      result.due += 1;
      // Logged start times are rounded to 1 ms, so a run can appear to start slightly early.
      const lagsMs = startsMs.map((startMs) => startMs - dueMs).filter((ms) => ms > -2 && ms < maxLagMs);
      const [lagMs] = lagsMs;
      if (lagMs !== undefined) result.lagsMs.push(Math.max(0, lagMs));
      else if (!startsMs.some((startMs) => startMs < dueMs && startMs > dueMs - intervalMs / 2)) {
        result.missed += 1;
      }
      result.duplicates += Math.max(0, lagsMs.length - 1);
    }
  }
  result.lagsMs.sort((a, b) => a - b);
  return result;
}

/** Counts the runs whose verdict or reason differs from that of the probe's previous run. */
export function countStateChanges(runs: readonly Run[], window: TimeWindow): number {
  const states = new Map<string, string>();
  let changes = 0;
  for (const run of runs) {
    const state = `${run.verdict} ${run.reason}`;
    if (isWithin(run, window) && states.get(run.probe) !== state) changes += 1;
    states.set(run.probe, state);
  }
  return changes;
}
