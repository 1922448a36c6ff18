import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runResult } from '../../test/support/run-result.ts';
import {
  ProbeStatus,
  readStatus,
  RUN_REQUEST_ANNOTATION,
  runRequestOf,
  type RunSummary,
  summarizeRun,
} from './probe-status.ts';

const RUN: RunSummary = {
  id: 'run-1',
  traceId: '0af7651916cd43dd8448eb211c80319c',
  startTime: '2026-01-02T03:04:05.678Z',
  duration: '23.4ms',
  verdict: 'Passed',
};

describe('readStatus', () => {
  it('reads a complete status', () => {
    const status: ProbeStatus = {
      observedGeneration: 3,
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'Scheduled',
          message: '',
          lastTransitionTime: RUN.startTime,
        },
      ],
      schedule: '30s',
      nextRunTime: '2026-01-02T04:04:05+01:00',
      lastRun: { ...RUN, target: 'a' },
      lastRunRequest: 'now',
      targets: [{ name: 'a', verdict: 'Passed', consecutiveFailures: 0, lastRun: RUN, recentRuns: [RUN] }],
    };
    expect(readStatus(status)).toStrictEqual(status);
  });

  it.each([undefined, null, 'a', 1, []])('returns undefined for %j', (status) => {
    expect(readStatus(status)).toBeUndefined();
  });

  it.each([
    {
      name: 'a field of a newer version',
      status: { schedule: '30s', phase: 'x' },
      want: { schedule: '30s' },
    },
    {
      name: 'a field of another type',
      status: { schedule: '30s', nextRunTime: 1 },
      want: { schedule: '30s' },
    },
    { name: 'an invalid time', status: { nextRunTime: 'soon' }, want: {} },
    { name: 'a map without a required field', status: { lastRun: RUN }, want: {} },
    {
      name: 'an invalid item of a list',
      status: { targets: [{ name: 'a' }, { name: 'b', consecutiveFailures: 1, lastRun: { id: 'x' } }, null] },
      want: { targets: [{ name: 'b', consecutiveFailures: 1 }] },
    },
    {
      name: 'runs beyond the limit',
      status: {
        targets: [{ name: 'a', consecutiveFailures: 0, recentRuns: Array.from({ length: 11 }, () => RUN) }],
      },
      want: {
        targets: [{ name: 'a', consecutiveFailures: 0, recentRuns: Array.from({ length: 10 }, () => RUN) }],
      },
    },
  ])('drops $name', ({ status, want }) => {
    expect(readStatus(status)).toStrictEqual(want);
  });

  it('returns a valid status or undefined for any input', () => {
    const fields = fc.constantFrom(
      'targets',
      'name',
      'conditions',
      'lastRun',
      'type',
      'recentRuns',
      'verdict',
    );
    const { status } = fc.letrec((tie) => ({
      status: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, 0, 'a', RUN),
        fc.array(tie('status'), { maxLength: 3 }),
        fc.dictionary(fields, tie('status')),
      ),
    }));
    fc.assert(
      fc.property(status, (value) => {
        const read = readStatus(value);
        expect(read === undefined || ProbeStatus.safeParse(read).success).toBe(true);
      }),
    );
  });
});

describe('summarizeRun', () => {
  it.each([
    [0.04, '0ms'],
    [23.44, '23.4ms'],
    [999.94, '999.9ms'],
    [999.96, '1s'],
    [1_526, '1.53s'],
    [90_000, '90s'],
  ])('formats %d ms as %s', (durationMs, duration) => {
    expect(summarizeRun({ ...runResult(), durationMs })).toMatchObject({ duration });
  });

  it('cuts a long message to well-formed text', () => {
    const { message } = summarizeRun({ ...runResult(), message: `${'x'.repeat(511)}\u{1F600}` });
    expect(message).toBe(`${'x'.repeat(511)}\uFFFD`);
  });
});

describe('runRequestOf', () => {
  it.each([
    [undefined, undefined],
    [{}, undefined],
    [{ [RUN_REQUEST_ANNOTATION]: '2026-01-02' }, '2026-01-02'],
    [{ [RUN_REQUEST_ANNOTATION]: 'x'.repeat(65) }, 'x'.repeat(64)],
  ])('reads %j as %j', (annotations, want) => {
    expect(runRequestOf(annotations)).toBe(want);
  });
});
