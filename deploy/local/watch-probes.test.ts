import { describe, expect, it } from 'vitest';

import type { ProbeStatus, RunSummary } from '../../src/api/probe-status.ts';
import { missingOf, watchedProbe } from './watch-probes.ts';

function statusOf(
  health: { status: 'True' | 'False'; reason: string },
  ...targets: readonly RunSummary['verdict'][][]
): ProbeStatus {
  const startTime = '2026-03-01T12:00:00Z';
  return {
    conditions: [{ type: 'Healthy', ...health, message: '', lastTransitionTime: startTime }],
    targets: targets.map((verdicts, target) => ({
      name: `target-${target}`,
      consecutiveFailures: 0,
      recentRuns: verdicts.map((verdict, run) => ({
        id: `run-${run}`,
        traceId: `trace-${target}-${run}`,
        startTime,
        duration: '20ms',
        verdict,
      })),
    })),
  };
}

const PASSED = { status: 'True', reason: 'Passed' } as const;

it('knows the traces of the runs that passed', () => {
  expect(watchedProbe('my-minio', statusOf(PASSED, ['Passed', 'Failed', 'Passed'])).passed).toEqual([
    ['trace-0-0', 'trace-0-2'],
  ]);
});

describe('what is missing', () => {
  it.each([
    {
      name: 'no probe',
      found: [],
      want: ['0 of 1 StorageProbes are there'],
    },
    {
      name: 'a probe that nobody has taken up',
      found: [watchedProbe('a', {})],
      want: ['a: not taken up yet, 0 of 2 runs passed'],
    },
    {
      name: 'a target with too few runs',
      found: [watchedProbe('a', statusOf(PASSED, ['Passed', 'Passed', 'Passed'], ['Passed', 'Failed']))],
      want: ['a: Healthy=True (Passed), 1 of 2 runs passed'],
    },
    {
      name: 'health, after runs that passed',
      found: [
        watchedProbe('a', statusOf({ status: 'False', reason: 'Timeout' }, ['Failed', 'Passed', 'Passed'])),
      ],
      want: ['a: Healthy=False (Timeout), 2 of 2 runs passed'],
    },
    {
      name: 'nothing',
      found: [watchedProbe('a', statusOf(PASSED, ['Passed', 'Passed']))],
      want: [],
    },
  ])('$name', ({ found, want }) => {
    expect(missingOf(found, { probes: 1, runs: 2 })).toEqual(want);
  });
});
