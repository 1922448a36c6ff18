import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { runResult } from '../../../test/support/run-result.ts';
import { REASONS } from '../../api/reasons.ts';
import type { Phases, RunResult } from '../../api/run.ts';
import { waterfall } from './waterfall.ts';

const ALL_PHASES: Phases = {
  dnsMs: 12.3,
  connectMs: 12.3,
  tlsMs: 123,
  sendMs: 12.3,
  firstByteMs: 1_234,
  bodyMs: 123,
};

function linesOf(result: RunResult, columns = 140, jaegerUrl?: string): string[] {
  return waterfall(result, { paint: (_tone, text) => text, columns, jaegerUrl });
}

/** Returns the rows of steps and calls. */
function rowsOf(lines: readonly string[]): string[] {
  return lines.slice(
    1,
    lines.findIndex((line) => /^(Passed|Failed|Unknown)/.test(line)),
  );
}

describe('a run that passed', () => {
  it('has a bar for each step and call, ordered by start time', () => {
    const lines = linesOf(runResult());
    expect(lines[0]).toBe('my-minio  http://my-minio:9000  bucket storage-probe-my-minio-e91c39f5a542');
    const rows = rowsOf(lines);
    expect(rows.map((row) => row.slice(0, 41))).toEqual(
      runResult().steps.flatMap(({ name }) => [
        `${name.padEnd(32)}  10.0 ms`,
        `${'  PutObject 200'.padEnd(32)}  10.0 ms`,
      ]),
    );
    const starts = rows.filter((row) => row.includes('█')).map((row) => row.indexOf('█'));
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(new Set(starts).size).toBe(6);
    expect(lines.at(-1)).toBe('Passed  my-minio  60.0 ms  trace 0af7651916cd43dd8448eb211c80319c');
  });

  it('shows the phases of each call', () => {
    const [, call] = rowsOf(linesOf(runResult({ call: { phases: ALL_PHASES } }), 200));
    expect(call).toMatch(/ {2}dns 12 · connect 12 · tls 123 · send 12 · first byte 1234 · body 123$/);
  });

  it.each(['http://jaeger:16686', 'http://jaeger:16686/'])('links to its trace in Jaeger at %s', (url) => {
    expect(linesOf(runResult(), 140, url).at(-1)).toBe(
      '  open           http://jaeger:16686/trace/0af7651916cd43dd8448eb211c80319c',
    );
  });
});

describe('a run that failed', () => {
  const result = runResult({ failed: { step: 'ADD_OBJECT', reason: 'SlowDown' } });

  it('shows the failed step, reason and fix, and the skipped steps', () => {
    const lines = linesOf({ ...result, leftBehind: ['bucket', 'bucket/key'] });
    expect(lines.slice(-5)).toEqual([
      'Failed: SlowDown in ADD_OBJECT  my-minio  30.0 ms  trace 0af7651916cd43dd8448eb211c80319c',
      '  what happened  It broke.',
      `  what it means  ${REASONS.SlowDown.means}`,
      `  what to do     ${REASONS.SlowDown.fix}`,
      '  left behind    bucket, bucket/key',
    ]);
    const rows = rowsOf(lines);
    expect(rows.filter((row) => row.endsWith('skipped'))).toHaveLength(3);
    expect(rows.find((row) => row.startsWith('add created object'))).toMatch(/█ +SlowDown$/);
  });

  it('shows a call without a response', () => {
    const failed = { step: 'CHECK_BUCKET', reason: 'ConnectionRefused' } as const;
    const { status: _, ...call } = runResult().steps[0]?.calls[0] ?? {};
    const refused = runResult({ failed });
    const lines = linesOf({
      ...refused,
      steps: refused.steps.map((step) => ({
        ...step,
        calls: step.calls.map((each) => ({ ...each, ...call })),
      })),
    });
    expect(rowsOf(lines)[1]).toMatch(/^ {2}PutObject/);
  });
});

describe('layout', () => {
  const result = fc
    .record({
      stepMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 100_000, noNaN: true })),
      phases: fc.constantFrom<Phases>({}, { firstByteMs: 0 }, ALL_PHASES),
      step: fc.constantFrom('CHECK_BUCKET', 'FETCH_OBJECT', 'REMOVE_BUCKET'),
      fails: fc.boolean(),
    })
    .map(({ stepMs, phases, step, fails }) =>
      runResult({
        stepMs,
        call: { phases },
        ...(fails && { failed: { step, reason: 'TLSCertificateNotYetValid' } }),
      }),
    );

  it('keeps every row within the terminal width', () => {
    fc.assert(
      fc.property(result, fc.integer({ min: 80, max: 250 }), (run, columns) => {
        for (const row of rowsOf(linesOf(run, columns))) {
          expect(row.length).toBeLessThanOrEqual(columns);
          expect(row).not.toMatch(/[\n\r]/);
        }
      }),
    );
  });

  it('has a bar for each executed step and call', () => {
    fc.assert(
      fc.property(result, fc.integer({ min: 20, max: 250 }), (run, columns) => {
        const rows = rowsOf(linesOf(run, columns));
        const executed = run.steps.filter(({ outcome }) => outcome !== 'skipped');
        expect(rows.filter((row) => /█/.test(row))).toHaveLength(executed.length);
        expect(rows.filter((row) => /▒/.test(row))).toHaveLength(
          executed.flatMap(({ calls }) => calls).length,
        );
      }),
    );
  });

  it('puts the phases below the bar in a narrow terminal', () => {
    const lines = linesOf(runResult({ call: { phases: ALL_PHASES } }), 80);
    const [, call, phases] = rowsOf(lines);
    expect(call).toMatch(/^ {2}PutObject 200 .*▒+$/);
    expect(phases).toBe('    dns 12 · connect 12 · tls 123 · send 12 · first byte 1234 · body 123');
  });

  it('clips bars that extend beyond the end of the run', () => {
    const run = runResult();
    const late = { ...run, durationMs: 1 };
    for (const row of rowsOf(linesOf(late, 140))) expect(row.length).toBeLessThanOrEqual(140);
  });
});
