import { beforeEach, describe, expect, inject, it } from 'vitest';

import type { Exit } from '../../deploy/local/child.ts';
import { requestKubeBody } from '../../deploy/local/kube-api.ts';
import { waitForTrace } from '../../deploy/local/traces.ts';
import { until } from '../support/until.ts';
import { duplicateRuns, longestGapMs, missedRuns } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import { startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { type LogLine, type RunningOperator, startOperator } from './operator.ts';
import { createProbeNamespace, type ProbeNamespace, untilMoreRuns } from './probes.ts';
import { runTimes } from './run-times.ts';
import { bucketsOf, removeBuckets, sharedStore, targetOf, user } from './store.ts';

const { jaegerUrl, kube } = inject('servers');
/** The operator's lease duration. */
const LEASE_MS = 15_000;
/** Margin for a busy machine. */
const SLACK_MS = 3_000;
const DRAIN_MS = 1_000;
/** Time limit for the clean-up of one run. */
const CLEAN_UP_MS = 10_000;
const INTERVAL_MS = 2_000;
const PROBES = 8;

let namespace: ProbeNamespace;
let leaderElectionId: string;
let names: string[];

beforeEach(async () => {
  namespace = await createProbeNamespace('leadership');
  leaderElectionId = uniqueName('leadership');
  names = Array.from({ length: PROBES }, () => uniqueName('probe'));
  const { accessKey, secretKey } = user;
  await namespace.putSecret('probe-user', { accessKey, secretKey });
});

function applyProbes(): Promise<unknown> {
  return Promise.all(
    names.map((name) =>
      namespace.apply(name, {
        schedule: { interval: `${INTERVAL_MS}ms` },
        targets: [targetOf(name, sharedStore.url)],
      }),
    ),
  );
}

function startReplica(identity: string, ...flags: string[]): Promise<RunningOperator> {
  return startOperator({
    namespaces: [namespace.name],
    leaderElectionId,
    flags: [`--identity=${identity}`, ...flags],
  });
}

/** Waits for a log message and returns its line. */
function untilLogged(operator: RunningOperator, message: string, timeoutMs: number): Promise<LogLine> {
  return until(message, timeoutMs, () => operator.logs().find(({ msg }) => msg === message));
}

function timeOf(line: LogLine): number {
  return Date.parse(String(line['time']));
}

async function leaseHolder(): Promise<string | undefined> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/storage-probe/leases/${leaderElectionId}`;
  const lease = await requestKubeBody<{ spec: { holderIdentity?: string } }>(kube, { path });
  return lease.spec.holderIdentity;
}

describe('two replicas', () => {
  it('take over from a crashed leader within the lease duration, without a duplicate run', async () => {
    await using first = await startReplica('first');
    await untilLogged(first, 'became the leader', SLACK_MS);
    await applyProbes();
    await using second = await startReplica('second');
    await Promise.all(names.map((name) => untilMoreRuns(first, name, 3)));
    expect((await second.get('/readyz')).status).toBe(200);
    expect((await second.samples('storage_probe_runs_total')).size).toBe(0);
    expect(runTimes(second).size).toBe(0);

    first.kill('SIGKILL');
    await first.exited;
    const killedMs = Date.now();
    const tookOver = await untilLogged(second, 'became the leader', LEASE_MS + SLACK_MS);
    await Promise.all(names.map((name) => untilMoreRuns(second, name, 3)));

    const runs = runTimes(first, second);
    expect(timeOf(tookOver) - killedMs).toBeLessThan(LEASE_MS + SLACK_MS);
    expect(duplicateRuns(runs, INTERVAL_MS)).toEqual([]);
    // Status may lag by a heartbeat. The new leader does not repeat a run that may already have happened.
    expect(longestGapMs(runs)).toBeLessThan(LEASE_MS + 2 * INTERVAL_MS + SLACK_MS);
    await Promise.all(names.map((name) => namespace.untilHealthy(name)));
  });

  it('hand over at once on SIGTERM, without a duplicate or missed run', async () => {
    await using first = await startReplica('first');
    await untilLogged(first, 'became the leader', SLACK_MS);
    await applyProbes();
    await using second = await startReplica('second');
    await Promise.all(names.map((name) => untilMoreRuns(first, name, 3)));

    const stoppingMs = Date.now();
    const [exit, tookOver] = await Promise.all([
      first.stop(),
      untilLogged(second, 'became the leader', LEASE_MS),
    ]);
    expect(exit).toMatchObject({ code: 0 });
    await Promise.all(names.map((name) => untilMoreRuns(second, name, 3)));
    const runs = runTimes(first, second);
    const next = Math.min(...[...runTimes(second).values()].map(([run]) => run?.startMs ?? Infinity));
    expect(timeOf(tookOver) - stoppingMs).toBeLessThan(2_000);
    expect(next - stoppingMs).toBeLessThan(2_000 + INTERVAL_MS / 2);
    expect(duplicateRuns(runs, INTERVAL_MS)).toEqual([]);
    // Each probe's first run started immediately, not on schedule.
    const onSchedule = new Map([...runs].map(([name, ofProbe]) => [name, ofProbe.slice(1)]));
    expect(missedRuns(onSchedule, INTERVAL_MS)).toEqual([]);
    expect([...(await second.samples('storage_probe_runs_missed_total')).values()]).toEqual([0]);
    expect(await leaseHolder()).toBe('second');

    expect(await second.stop()).toMatchObject({ code: 0 });
    expect(await leaseHolder()).toBe('');
    const traceIds = [first, second].flatMap((operator) =>
      operator.logs().flatMap((line) => (line.msg === 'run passed' ? [String(line['trace_id'])] : [])),
    );
    expect(traceIds.length).toBeGreaterThan(PROBES * 6 - 1);
    const signal = AbortSignal.timeout(20_000);
    for (const traceId of traceIds) {
      // One run span, six step spans and eight call spans.
      await waitForTrace(jaegerUrl, traceId, { signal, spans: 15 });
    }
    for (const name of names) expect(await bucketsOf(name)).toEqual([]);
  });
});

describe('an operator that gets SIGTERM while a target does not respond', () => {
  it('aborts the run after --drain-timeout and gives up its clean-up', async () => {
    const faults = { GetObject: hang, DeleteObject: hang, ListObjectsV2: hang };
    await using target = await startFaultProxy(sharedStore.url, { faults });
    await using operator = await startReplica('only', '--drain-timeout=1s');
    const name = await startHangingRun(operator, target.url);
    await target.untilSeen('GetObject');
    try {
      const stoppingMs = performance.now();
      expect(await operator.stop()).toMatchObject({ code: 0 });
      const shutdownMs = performance.now() - stoppingMs;
      expect(shutdownMs).toBeLessThan(DRAIN_MS + CLEAN_UP_MS + SLACK_MS);
      expect(target.requests.map(({ operation }) => operation)).toContain('DeleteObject');
      expect(await leaseHolder()).toBe('');
      expect((await namespace.get(name)).status?.lastRun).toBeUndefined();
    } finally {
      await removeBuckets(name);
    }
  });

  it('exits at once on a second SIGTERM', async () => {
    await using target = await startSilentServer();
    await using operator = await startReplica('only', '--drain-timeout=20s', '--shutdown-timeout=25s');
    await startHangingRun(operator, `http://127.0.0.1:${target.port}`);
    const stoppingMs = performance.now();
    let exit: Exit | undefined;
    void operator.exited.then((result) => (exit = result));
    await until('the operator to exit', SLACK_MS, () => {
      operator.kill('SIGTERM');
      return exit;
    });
    expect(performance.now() - stoppingMs).toBeLessThan(SLACK_MS);
  });
});

async function startHangingRun(operator: RunningOperator, endpoint: string): Promise<string> {
  const name = uniqueName('hangs');
  await namespace.apply(name, {
    schedule: { interval: '1m' },
    timeout: '50s',
    targets: [targetOf(name, endpoint)],
  });
  await until('the run to start', SLACK_MS, async () => {
    return [...(await operator.samples('storage_probe_runs_in_flight')).values()].includes(1);
  });
  return name;
}

function hang(): void {
  // Sends no response.
}
