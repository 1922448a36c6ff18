import { expect, it } from 'vitest';

import { doubledRuns, longestGapMs, missedRuns, type RunTime } from './run-times.ts';

const INTERVAL_MS = 4_000;

/** Runs of one probe, of 50 ms each. */
function runsAt(...startsMs: readonly number[]): Map<string, RunTime[]> {
  return new Map([['a', startsMs.map((startMs) => ({ startMs, endMs: startMs + 50 }))]]);
}

it('finds what is run twice for one due time, or while it runs', () => {
  expect(doubledRuns(runsAt(0, 4_010, 7_990), INTERVAL_MS)).toEqual([]);
  expect(doubledRuns(runsAt(0, 4_000, 4_300), INTERVAL_MS)).toEqual(['a ran again after 300 ms']);
  expect(doubledRuns(runsAt(0, 20), 10)).toEqual(['a ran again after 20 ms']);
});

it('finds due times without a run, and lets a run be late', () => {
  expect(missedRuns(runsAt(0, 5_800, 8_000, 12_000), INTERVAL_MS)).toEqual([]);
  expect(missedRuns(runsAt(0, 4_000, 12_000), INTERVAL_MS)).toEqual(['a ran 3 times, and was due 4 times']);
});

it('finds the longest time between two starts', () => {
  expect(longestGapMs(runsAt(0, 4_000, 9_000, 12_000))).toBe(5_000);
});
