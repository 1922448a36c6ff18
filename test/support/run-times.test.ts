import { expect, it } from 'vitest';

import { duplicateRuns, longestGapMs, missedRuns, type RunTime } from './run-times.ts';

const INTERVAL_MS = 4_000;

/** Runs of one probe that take 50 ms each. */
function runsAt(...startsMs: readonly number[]): Map<string, RunTime[]> {
  return new Map([['a', startsMs.map((startMs) => ({ startMs, endMs: startMs + 50 }))]]);
}

it('finds duplicate runs for a due time and overlapping runs', () => {
  expect(duplicateRuns(runsAt(0, 4_010, 7_990), INTERVAL_MS)).toEqual([]);
  expect(duplicateRuns(runsAt(0, 4_000, 4_300), INTERVAL_MS)).toEqual(['a ran again after 300 ms']);
  expect(duplicateRuns(runsAt(0, 20), 10)).toEqual(['a ran again after 20 ms']);
});

it('finds missed due times but accepts late runs', () => {
  expect(missedRuns(runsAt(0, 5_800, 8_000, 12_000), INTERVAL_MS)).toEqual([]);
  expect(missedRuns(runsAt(0, 4_000, 12_000), INTERVAL_MS)).toEqual(['a ran 3 times but was due 4 times']);
});

it('finds the longest gap between two starts', () => {
  expect(longestGapMs(runsAt(0, 4_000, 9_000, 12_000))).toBe(5_000);
});
