/** Start and end of one run. Wall time, in ms. */
export interface RunTime {
  readonly startMs: number;
  readonly endMs: number;
}

/** Tolerance for recorded start times. */
const START_TOLERANCE_MS = 100;

/** Describes runs of the same probe that overlap or belong to the same due time. */
export function duplicateRuns(runs: ReadonlyMap<string, readonly RunTime[]>, intervalMs: number): string[] {
  return [...runs].flatMap(([name, times]) =>
    times.slice(1).flatMap((run, index) => {
      const previous = times[index];
      const gapMs = run.startMs - (previous?.startMs ?? 0);
      const isSeparate = gapMs > intervalMs / 2 - START_TOLERANCE_MS && run.startMs >= (previous?.endMs ?? 0);
      return isSeparate ? [] : `${name} ran again after ${gapMs} ms`;
    }),
  );
}

/**
 * Describes probes with missed due times. A run counts for its due time if it is late by less than half an interval. Do
 * not pass a probe's first run, because it starts immediately.
 */
export function missedRuns(runs: ReadonlyMap<string, readonly RunTime[]>, intervalMs: number): string[] {
  return [...runs].flatMap(([name, times]) => {
    const lengthMs = (times.at(-1)?.startMs ?? 0) - (times[0]?.startMs ?? 0);
    const due = Math.round(lengthMs / intervalMs) + 1;
    return times.length < due ? [`${name} ran ${times.length} times but was due ${due} times`] : [];
  });
}

/** Longest time between two consecutive starts of the same probe. */
export function longestGapMs(runs: ReadonlyMap<string, readonly RunTime[]>): number {
  const gapsMs = [...runs.values()].flatMap((times) =>
    times.slice(1).map(({ startMs }, index) => startMs - (times[index]?.startMs ?? startMs)),
  );
  return Math.max(...gapsMs);
}

/** Longest time without a run in progress between `fromMs` and `toMs`. */
export function longestPauseMs(runs: readonly RunTime[], fromMs: number, toMs: number): number {
  const overlapping = runs.filter(({ startMs, endMs }) => endMs > fromMs && startMs < toMs);
  const starts = [...overlapping.map(({ startMs }) => startMs), toMs];
  const ends = [fromMs, ...overlapping.map(({ endMs }) => endMs)];
  return Math.max(...starts.map((startMs, index) => startMs - (ends[index] ?? fromMs)));
}
