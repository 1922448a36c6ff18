import { timetable } from '../../../src/scheduler/next-due.ts';
import type { Run } from './operator-process.ts';
import type { Probe } from './stack.ts';

export interface Stretch {
  /** Wall ms. */
  readonly fromMs: number;
  readonly toMs: number;
}

export function isWithin({ startMs }: Run, { fromMs, toMs }: Stretch): boolean {
  return startMs >= fromMs && startMs < toMs;
}

/** How the runs of a stretch of time kept to their due times. */
export interface Punctuality {
  /** Due times in the stretch. */
  readonly due: number;
  /** Due times without a run, which none before stands in for. */
  readonly missed: number;
  /** More runs than one at a due time. */
  readonly doubled: number;
  /** From a due time to its run: ms, ascending. */
  readonly lagsMs: readonly number[];
}

/**
 * Computes the due times again, and looks for their runs. A run that starts off its due times, as the first of a new
 * probe does, stands in for a due time within half an interval after it.
 *
 * @param runs also those from half an interval before the stretch, and up to `maxLagMs` after it.
 */
export function punctuality(
  probes: readonly Probe[],
  intervalMs: number,
  runs: readonly Run[],
  { fromMs, toMs }: Stretch,
  maxLagMs: number,
): Punctuality {
  const starts = Map.groupBy(runs, ({ probe }) => probe);
  const found = { due: 0, missed: 0, doubled: 0, lagsMs: [] as number[] };
  for (const { key, uid } of probes) {
    const around = timetable({ intervalMs }, uid);
    const startsMs = starts.get(key)?.map(({ startMs }) => startMs) ?? [];
    for (let dueMs = around(fromMs).nextMs; dueMs < toMs; dueMs += intervalMs) {
      found.due += 1;
      // A start is told to the ms.
      const lagsMs = startsMs.map((startMs) => startMs - dueMs).filter((ms) => ms > -2 && ms < maxLagMs);
      const [lagMs] = lagsMs;
      if (lagMs !== undefined) found.lagsMs.push(Math.max(0, lagMs));
      else if (!startsMs.some((startMs) => startMs < dueMs && startMs > dueMs - intervalMs / 2)) {
        found.missed += 1;
      }
      found.doubled += Math.max(0, lagsMs.length - 1);
    }
  }
  found.lagsMs.sort((a, b) => a - b);
  return found;
}

/** Runs whose verdict or reason is not that of the probe's run before. */
export function changesOfState(runs: readonly Run[], stretch: Stretch): number {
  const states = new Map<string, string>();
  let changes = 0;
  for (const run of runs) {
    const state = `${run.verdict} ${run.reason}`;
    if (isWithin(run, stretch) && states.get(run.probe) !== state) changes += 1;
    states.set(run.probe, state);
  }
  return changes;
}
