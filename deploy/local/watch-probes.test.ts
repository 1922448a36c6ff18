import { describe, expect, it } from 'vitest';

import type { ProbeStatus, RunSummary } from '../../src/api/probe-status.ts';
import { findMissing, toWatchedProbe } from './watch-probes.ts';

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

it('collects the trace IDs of passed runs', () => {
  expect(toWatchedProbe('my-minio', statusOf(PASSED, ['Passed', 'Failed', 'Passed'])).passed).toEqual([
    ['trace-0-0', 'trace-0-2'],
  ]);
});

describe('findMissing', () => {
  it.each([
    {
      name: 'reports that no probe exists',
      found: [],
      want: ['0 of 1 StorageProbes exist'],
    },
    {
      name: 'reports a probe without a status',
      found: [toWatchedProbe('a', {})],
      want: ['a: no status yet, 0 of 2 runs passed'],
    },
    {
      name: 'reports a target with too few passed runs',
      found: [toWatchedProbe('a', statusOf(PASSED, ['Passed', 'Passed', 'Passed'], ['Passed', 'Failed']))],
      want: ['a: Healthy=True (Passed), 1 of 2 runs passed'],
    },
    {
      name: 'reports an unhealthy probe with enough passed runs',
      found: [
        toWatchedProbe('a', statusOf({ status: 'False', reason: 'Timeout' }, ['Failed', 'Passed', 'Passed'])),
      ],
      want: ['a: Healthy=False (Timeout), 2 of 2 runs passed'],
    },
    {
      name: 'reports nothing if all expectations are met',
      found: [toWatchedProbe('a', statusOf(PASSED, ['Passed', 'Passed']))],
      want: [],
    },
  ])('$name', ({ found, want }) => {
    expect(findMissing(found, { probes: 1, runs: 2 })).toEqual(want);
  });
});
