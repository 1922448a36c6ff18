import { describe, expect, it } from 'vitest';

import { runResult } from '../../test/support/run-result.ts';
import type { ProbePlan } from '../api/plan.ts';
import { ProbeStatus } from '../api/probe-status.ts';
import { invalidStatus, isSignificantChange, statusOf, type StatusInput } from './status.ts';
import { emptyRecord, type TargetRecord, withObstacle, withRun } from './target-record.ts';

const NOW_MS = Date.UTC(2026, 10, 22, 12);

const plan: ProbePlan = {
  namespace: 'storage',
  name: 'my-minio',
  schedule: { intervalMs: 30_000 },
  timeoutMs: 20_000,
  targets: [],
  bucket: { mode: 'Ephemeral' },
  objectSizesBytes: [4_096],
  failureThreshold: 2,
  suspend: false,
};

function recordOf(name: string, ...runs: Parameters<typeof runResult>[0][]): TargetRecord {
  return runs.reduce<TargetRecord>(
    (record, run, index) =>
      withRun(record, { ...runResult(run), traceId: String(index + 1).padStart(32, '0') }, 2),
    emptyRecord(name),
  );
}

function statusWith(input: Partial<StatusInput>): ProbeStatus {
  return statusOf({
    generation: 3,
    plan,
    records: [recordOf('my-minio', {})],
    obstacles: [],
    nextRunMs: NOW_MS + 30_000,
    lastRunRequest: undefined,
    conditions: [],
    nowMs: NOW_MS,
    ...input,
  });
}

function conditionsOf({ conditions = [] }: ProbeStatus): string[] {
  return conditions.map(({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`);
}

const timeout = { failed: { step: 'ADD_OBJECT', reason: 'Timeout' } } as const;
const dnsFailed = { failed: { step: 'CHECK_BUCKET', reason: 'DNSFailed' } } as const;

describe('the status of a probe', () => {
  it('matches its schema for any records', () => {
    for (const records of [[], [recordOf('a')], [recordOf('a', {}, timeout, timeout), recordOf('b', {})]]) {
      const status = statusWith({ records, lastRunRequest: 'now' });
      expect(ProbeStatus.parse(status)).toEqual(status);
    }
  });

  it.each<{ name: string; input: Partial<StatusInput>; want: string[] }>([
    {
      name: 'before the first run',
      input: { records: [recordOf('my-minio')] },
      want: [
        'Ready True Scheduled: Runs start on schedule.',
        'Healthy Unknown NotYetRun: my-minio has not been probed yet.',
      ],
    },
    {
      name: 'after a run',
      input: {},
      want: [
        'Ready True Scheduled: Runs start on schedule.',
        'Healthy True Passed: my-minio passed (trace 00000000000000000000000000000001)',
      ],
    },
    {
      name: 'one of two targets is unhealthy',
      input: { records: [recordOf('a', timeout, timeout), recordOf('b', {})] },
      want: [
        'Ready True Scheduled: Runs start on schedule.',
        'Healthy False Timeout: 1 of 2 targets unhealthy: a Timeout at ADD_OBJECT: It broke. (trace 00000000000000000000000000000002)',
      ],
    },
    {
      name: 'two targets are unhealthy for different reasons',
      input: { records: [recordOf('a', timeout, timeout), recordOf('b', dnsFailed, dnsFailed)] },
      want: [
        'Ready True Scheduled: Runs start on schedule.',
        'Healthy False SeveralReasons: 2 of 2 targets unhealthy: a Timeout at ADD_OBJECT: It broke. (trace 00000000000000000000000000000002); ' +
          'b DNSFailed at CHECK_BUCKET: It broke. (trace 00000000000000000000000000000002)',
      ],
    },
    {
      name: 'a Secret is missing',
      input: {
        obstacles: [
          { target: 'my-minio', reason: 'SecretMissing', message: 'Secret storage/x does not exist' },
        ],
      },
      want: [
        'Ready False SecretMissing: Secret storage/x does not exist',
        'Healthy Unknown SecretMissing: Secret storage/x does not exist',
      ],
    },
    {
      name: 'a missing Secret now exists',
      input: { records: [withObstacle(recordOf('my-minio', {}), 'SecretMissing')] },
      want: [
        'Ready True Scheduled: Runs start on schedule.',
        'Healthy Unknown SecretMissing: my-minio has not been probed since its Secrets became available.',
      ],
    },
    {
      name: 'suspended',
      input: { plan: { ...plan, suspend: true } },
      want: [
        'Ready True Suspended: No runs start because spec.suspend is true.',
        'Healthy Unknown Suspended: Health is unknown because spec.suspend is true.',
      ],
    },
    {
      name: 'never due',
      input: { nextRunMs: undefined },
      want: [
        'Ready False NeverDue: spec.schedule.cron matches no future time.',
        'Healthy True Passed: my-minio passed (trace 00000000000000000000000000000001)',
      ],
    },
  ])('$name', ({ input, want }) => {
    expect(conditionsOf(statusWith(input))).toEqual(want);
  });

  it('updates lastTransitionTime only if the status of a condition changes', () => {
    const before = statusWith({}).conditions ?? [];
    const later = statusWith({ conditions: before, nowMs: NOW_MS + 60_000 }).conditions ?? [];
    expect(later.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual(
      before.map(({ lastTransitionTime }) => lastTransitionTime),
    );
    const failed = statusWith({
      conditions: before,
      records: [recordOf('my-minio', timeout, timeout)],
      nowMs: NOW_MS + 60_000,
    });
    expect(failed.conditions?.[0]?.lastTransitionTime).toBe('2026-11-22T12:00:00.000Z');
    expect(failed.conditions?.[1]?.lastTransitionTime).toBe('2026-11-22T12:01:00.000Z');
  });

  it('shows the last run of an unhealthy target first', () => {
    const records = [recordOf('a', {}), recordOf('b', timeout, timeout)];
    expect(statusWith({ records }).lastRun).toMatchObject({ target: 'b', reason: 'Timeout' });
    expect(statusWith({ records: [recordOf('a', {})] }).lastRun).toMatchObject({ target: 'a' });
    expect(statusWith({ records: [recordOf('a')] })).not.toHaveProperty('lastRun');
  });

  it('omits nextRunTime while no run can start', () => {
    expect(statusWith({}).nextRunTime).toBe('2026-11-22T12:00:30.000Z');
    expect(statusWith({ plan: { ...plan, suspend: true } })).not.toHaveProperty('nextRunTime');
    const obstacle = { target: 'my-minio', reason: 'SecretMissing', message: 'not found' } as const;
    expect(statusWith({ obstacles: [obstacle] })).not.toHaveProperty('nextRunTime');
  });

  it('keeps past results when the spec is invalid', () => {
    const status = invalidStatus(statusWith({}), { generation: 4, nowMs: NOW_MS, message: 'spec: invalid' });
    expect(conditionsOf(status)).toEqual([
      'Ready False InvalidSpec: spec: invalid',
      'Healthy Unknown InvalidSpec: spec: invalid',
    ]);
    expect(status).toMatchObject({ observedGeneration: 4, targets: [{ name: 'my-minio' }] });
    expect(status).not.toHaveProperty('nextRunTime');
  });
});

describe('isSignificantChange', () => {
  it.each<{ name: string; input: Partial<StatusInput>; want: boolean }>([
    { name: 'another run that passed', input: { records: [recordOf('my-minio', {}, {})] }, want: false },
    { name: 'a new due time', input: { nextRunMs: NOW_MS + 60_000 }, want: false },
    { name: 'a run that failed', input: { records: [recordOf('my-minio', {}, timeout)] }, want: true },
    { name: 'an edited spec', input: { generation: 4 }, want: true },
    { name: 'an accepted run request', input: { lastRunRequest: 'now' }, want: true },
    { name: 'a different target', input: { records: [recordOf('other', {})] }, want: true },
  ])('returns $want for $name', ({ input, want }) => {
    expect(isSignificantChange(statusWith({}), statusWith(input))).toBe(want);
  });
});
