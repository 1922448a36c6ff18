import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { runResult } from '../../../test/support/run-result.ts';
import type { RunResult } from '../../api/run.ts';
import { median, Patterns } from './patterns.ts';

function linesOf(results: readonly RunResult[]): string[] {
  const patterns = new Patterns();
  for (const result of results) patterns.add(result);
  return patterns.lines((_tone, text) => text);
}

/** Splits table lines into cells: a name, then figures. */
function cellsOf(lines: readonly string[]): string[][] {
  return lines.map((line) => line.trim().split(/ {2,}/));
}

describe('median', () => {
  const durations = fc.array(fc.float({ min: 0, max: 100_000, noNaN: true }), { minLength: 1 });

  it('has at most half of the values on either side', () => {
    fc.assert(
      fc.property(durations, (values) => {
        const sorted = values.toSorted((a, b) => a - b);
        const middle = median(sorted);
        const below = sorted.filter((value) => value < middle).length;
        const above = sorted.filter((value) => value > middle).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(sorted.length / 2);
        expect(middle).toBeGreaterThanOrEqual(sorted[0] ?? 0);
        expect(middle).toBeLessThanOrEqual(sorted.at(-1) ?? 0);
      }),
    );
  });

  it.each([
    { sorted: [7], want: 7 },
    { sorted: [1, 2, 100], want: 2 },
    { sorted: [1, 2, 3, 100], want: 2.5 },
  ])('of $sorted is $want', ({ sorted, want }) => {
    expect(median(sorted)).toBe(want);
  });
});

describe('Patterns', () => {
  it('shows fastest, median and slowest for each step and for the run', () => {
    const lines = linesOf([30, 10, 20].map((stepMs) => runResult({ stepMs })));
    expect(cellsOf(lines)).toEqual([
      [''],
      ['Patterns of my-minio: 3 of 3 runs passed'],
      ['fastest', 'median', 'slowest'],
      ['check if bucket exist', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['create object to add', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['add created object to bucket', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['fetch object from bucket', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['remove object from bucket', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['check if bucket exists', '10.0 ms', '20.0 ms', '30.0 ms'],
      ['storage probe', '60.0 ms', '120.0 ms', '180.0 ms'],
    ]);
    expect(new Set(lines.slice(2).map((line) => line.length)).size).toBe(1);
  });

  it('leaves out failed and skipped steps and keeps the step order', () => {
    const lines = linesOf([
      runResult({ stepMs: 900, failed: { step: 'CREATE_OBJECT', reason: 'Timeout' } }),
      runResult({ stepMs: 10 }),
    ]);
    const cells = cellsOf(lines);
    expect(cells[1]).toEqual(['Patterns of my-minio: 1 of 2 runs passed']);
    expect(cells.slice(3).map(([name]) => name)).toEqual([
      ...runResult().steps.map(({ name }) => name),
      'storage probe',
    ]);
    expect(cells[3]).toEqual(['check if bucket exist', '10.0 ms', '455.0 ms', '900.0 ms']);
    expect(cells[4]).toEqual(['create object to add', '10.0 ms', '10.0 ms', '10.0 ms']);
    expect(cells.at(-1)).toEqual(['storage probe', '60.0 ms', '60.0 ms', '60.0 ms']);
  });

  it('omits steps that never passed', () => {
    const failed = { step: 'CHECK_BUCKET', reason: 'ConnectionRefused' } as const;
    expect(cellsOf(linesOf([runResult({ failed }), runResult({ failed })]))).toEqual([
      [''],
      ['Patterns of my-minio: 0 of 2 runs passed'],
      ['fastest', 'median', 'slowest'],
    ]);
  });

  it('prints one table per target', () => {
    const lines = linesOf(['a', 'b', 'a'].map((target) => runResult({ target })));
    expect(lines.filter((line) => line.startsWith('Patterns'))).toEqual([
      'Patterns of a: 2 of 2 runs passed',
      'Patterns of b: 1 of 1 runs passed',
    ]);
  });
});
