/** When one run was under way; wall ms. */
export interface RunTime {
  readonly startMs: number;
  readonly endMs: number;
}

/** How exactly a start is known. */
const SAME_RUN_MS = 100;

/** Two runs of one probe at the same time, or for the same due time, in words. */
export function doubledRuns(runs: ReadonlyMap<string, readonly RunTime[]>, intervalMs: number): string[] {
  return [...runs].flatMap(([name, own]) =>
    own.slice(1).flatMap((run, index) => {
      const before = own[index];
      const distanceMs = run.startMs - (before?.startMs ?? 0);
      const isApart = distanceMs > intervalMs / 2 - SAME_RUN_MS && run.startMs >= (before?.endMs ?? 0);
      return isApart ? [] : `${name} ran again after ${distanceMs} ms`;
    }),
  );
}

/**
 * Due times without a run, in words. A run that is late counts for its due time, as long as it is not late by half of the
 * interval. Not to be asked of a probe's first run, which starts at once.
 */
export function missedRuns(runs: ReadonlyMap<string, readonly RunTime[]>, intervalMs: number): string[] {
  return [...runs].flatMap(([name, own]) => {
    const lengthMs = (own.at(-1)?.startMs ?? 0) - (own[0]?.startMs ?? 0);
    const due = Math.round(lengthMs / intervalMs) + 1;
    return own.length < due ? [`${name} ran ${own.length} times, and was due ${due} times`] : [];
  });
}

/** Longest time between two starts of a probe. */
export function longestGapMs(runs: ReadonlyMap<string, readonly RunTime[]>): number {
  const gaps = [...runs.values()].flatMap((own) =>
    own.slice(1).map(({ startMs }, index) => startMs - (own[index]?.startMs ?? startMs)),
  );
  return Math.max(...gaps);
}

/** Longest time in which no run of a probe was under way, between two times. */
export function longestPauseMs(runs: readonly RunTime[], fromMs: number, toMs: number): number {
  const within = runs.filter(({ startMs, endMs }) => endMs > fromMs && startMs < toMs);
  const starts = [...within.map(({ startMs }) => startMs), toMs];
  const ends = [fromMs, ...within.map(({ endMs }) => endMs)];
  return Math.max(...starts.map((startMs, index) => startMs - (ends[index] ?? fromMs)));
}
