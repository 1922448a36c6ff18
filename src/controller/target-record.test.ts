import { describe, expect, it } from 'vitest';

import { runResult } from '../../test/support/run-result.ts';
import { MAX_RECENT_RUNS } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import { emptyRecord, healthOf, recordFrom, type TargetRecord, withRun } from './target-record.ts';

/** A record after runs with these outcomes, oldest first. Trace IDs are `run 1`, `run 2` and so on. */
function recordAfter(outcomes: readonly ('Passed' | Reason)[], failureThreshold = 2): TargetRecord {
  return outcomes.reduce((record, outcome, index) => {
    const failed = outcome === 'Passed' ? {} : { failed: { step: 'ADD_OBJECT', reason: outcome } as const };
    return withRun(record, { ...runResult(failed), traceId: `run ${index + 1}` }, failureThreshold);
  }, emptyRecord('my-minio'));
}

describe('the health of a target', () => {
  it.each<{ outcomes: ('Passed' | Reason)[]; want: string }>([
    { outcomes: [], want: 'Unknown' },
    { outcomes: ['Passed'], want: 'Healthy' },
    { outcomes: ['Timeout'], want: 'Unknown' },
    { outcomes: ['Timeout', 'Timeout'], want: 'Unhealthy' },
    { outcomes: ['Passed', 'Timeout'], want: 'Healthy' },
    { outcomes: ['Passed', 'Timeout', 'DNSFailed'], want: 'Unhealthy' },
    { outcomes: ['Passed', 'Timeout', 'Passed', 'Timeout'], want: 'Healthy' },
    { outcomes: ['Timeout', 'Timeout', 'Passed'], want: 'Healthy' },
    { outcomes: ['Passed', 'ProberError'], want: 'Unknown' },
    { outcomes: ['Timeout', 'ProberError', 'Timeout'], want: 'Unhealthy' },
    { outcomes: ['Timeout', 'Timeout', 'ProberError'], want: 'Unhealthy' },
  ])('is $want after $outcomes', ({ outcomes, want }) => {
    expect(healthOf(recordAfter(outcomes), 2)).toBe(want);
  });
});

describe('the cause of an unhealthy target', () => {
  it.each<{ outcomes: ('Passed' | Reason)[]; want: string | undefined }>([
    { outcomes: ['Passed'], want: undefined },
    { outcomes: ['Timeout', 'Timeout'], want: 'run 2' },
    { outcomes: ['Timeout', 'Timeout', 'Timeout', 'Timeout'], want: 'run 2' },
    { outcomes: ['Timeout', 'Timeout', 'Timeout', 'DNSFailed', 'DNSFailed'], want: 'run 4' },
    { outcomes: ['Timeout', 'Timeout', 'ProberError'], want: 'run 2' },
    { outcomes: ['Timeout', 'Timeout', 'Passed'], want: undefined },
  ])('after $outcomes is $want', ({ outcomes, want }) => {
    expect(recordAfter(outcomes).cause?.traceId).toBe(want);
  });

  it('is the last recorded run after a restart, until a run has a different result', () => {
    const restarted = recordFrom(recordAfter(['Timeout', 'Timeout', 'Timeout']).status);
    expect(restarted.cause?.traceId).toBe('run 3');
    const failed = { failed: { step: 'ADD_OBJECT', reason: 'Timeout' } } as const;
    expect(withRun(restarted, runResult(failed), 2).cause?.traceId).toBe('run 3');
    expect(withRun(restarted, runResult(), 2).cause).toBeUndefined();
  });
});

describe('the status of a target', () => {
  it('keeps a bounded number of runs, newest first, and only the message of the last run', () => {
    const { status } = recordAfter(Array<Reason>(MAX_RECENT_RUNS + 5).fill('Timeout'));
    expect(status.recentRuns).toHaveLength(MAX_RECENT_RUNS);
    expect(status.recentRuns?.[0]?.traceId).toBe('run 15');
    expect(status.recentRuns?.[0]).not.toHaveProperty('message');
    expect(status.lastRun).toMatchObject({ traceId: 'run 15', message: 'It broke.' });
    expect(status.consecutiveFailures).toBe(15);
  });

  it('keeps the time of the last success', () => {
    expect(recordAfter(['Passed', 'Timeout']).status.lastSuccessTime).toBe('2026-11-22T12:00:00.000Z');
    expect(recordAfter(['Timeout']).status).not.toHaveProperty('lastSuccessTime');
  });

  it('removes the failure reason once a run passes', () => {
    expect(recordAfter(['Timeout']).status.reason).toBe('Timeout');
    expect(recordAfter(['Timeout', 'Passed']).status).not.toHaveProperty('reason');
  });
});
