import { beforeEach, describe, expect, inject, it } from 'vitest';

import type { Exit } from '../../deploy/local/child.ts';
import { askKubeFor } from '../../deploy/local/kube-api.ts';
import { waitForTrace } from '../../deploy/local/traces.ts';
import { until } from '../support/until.ts';
import { doubledRuns, longestGapMs, missedRuns } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import { startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { type LogLine, type RunningOperator, startOperator } from './operator.ts';
import { makeProbeNamespace, type ProbeNamespace, untilRuns } from './probes.ts';
import { runTimes } from './run-times.ts';
import { bucketsOf, removeBuckets, sharedStore, targetOf, user } from './store.ts';

const { jaegerUrl, kube } = inject('servers');
/** Of the operator's Lease, and how often those that wait for it look. */
const LEASE_MS = 15_000;
/** What a busy machine takes besides. */
const SLACK_MS = 3_000;
const DRAIN_MS = 1_000;
/** Of the clean-up of one run. */
const CLEAN_UP_MS = 10_000;
const INTERVAL_MS = 2_000;
const PROBES = 8;

let namespace: ProbeNamespace;
let leaderElectionId: string;
let names: string[];

beforeEach(async () => {
  namespace = await makeProbeNamespace('leadership');
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

/** The line itself, as soon as it is there. */
function untilLogged(operator: RunningOperator, message: string, timeoutMs: number): Promise<LogLine> {
  return until(message, timeoutMs, () => operator.logs().find(({ msg }) => msg === message));
}

function timeOf(line: LogLine): number {
  return Date.parse(String(line['time']));
}

async function holder(): Promise<string | undefined> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/storage-probe/leases/${leaderElectionId}`;
  const lease = await askKubeFor<{ spec: { holderIdentity?: string } }>(kube, { path });
  return lease.spec.holderIdentity;
}

describe('two replicas', () => {
  it('take over from one that crashes within the time of the Lease, and double no run', async () => {
    await using first = await startReplica('first');
    await untilLogged(first, 'became the leader', SLACK_MS);
    await applyProbes();
    await using second = await startReplica('second');
    await Promise.all(names.map((name) => untilRuns(first, name, 3)));
    expect((await second.get('/readyz')).status).toBe(200);
    expect((await second.samples('storage_probe_runs_total')).size).toBe(0);
    expect(runTimes(second).size).toBe(0);

    first.kill('SIGKILL');
    await first.exited;
    const killedMs = Date.now();
    const tookOver = await untilLogged(second, 'became the leader', LEASE_MS + SLACK_MS);
    await Promise.all(names.map((name) => untilRuns(second, name, 3)));

    const runs = runTimes(first, second);
    expect(timeOf(tookOver) - killedMs).toBeLessThan(LEASE_MS + SLACK_MS);
    expect(doubledRuns(runs, INTERVAL_MS)).toEqual([]);
    // A status may be a heartbeat old: what could have been met without a record of it is not made again.
    expect(longestGapMs(runs)).toBeLessThan(LEASE_MS + 2 * INTERVAL_MS + SLACK_MS);
    await Promise.all(names.map((name) => namespace.untilHealthy(name)));
  });

  it('hand over at once when one is asked to end, and neither double nor skip a run', async () => {
    await using first = await startReplica('first');
    await untilLogged(first, 'became the leader', SLACK_MS);
    await applyProbes();
    await using second = await startReplica('second');
    await Promise.all(names.map((name) => untilRuns(first, name, 3)));

    const askedMs = Date.now();
    const [exit, tookOver] = await Promise.all([
      first.stop(),
      untilLogged(second, 'became the leader', LEASE_MS),
    ]);
    expect(exit).toMatchObject({ code: 0 });
    await Promise.all(names.map((name) => untilRuns(second, name, 3)));
    const runs = runTimes(first, second);
    const next = Math.min(...[...runTimes(second).values()].map(([run]) => run?.startMs ?? Infinity));
    expect(timeOf(tookOver) - askedMs).toBeLessThan(2_000);
    expect(next - askedMs).toBeLessThan(2_000 + INTERVAL_MS / 2);
    expect(doubledRuns(runs, INTERVAL_MS)).toEqual([]);
    // The first run of each was at once.
    const onSchedule = new Map([...runs].map(([name, own]) => [name, own.slice(1)]));
    expect(missedRuns(onSchedule, INTERVAL_MS)).toEqual([]);
    expect([...(await second.samples('storage_probe_runs_missed_total')).values()]).toEqual([0]);
    expect(await holder()).toBe('second');

    expect(await second.stop()).toMatchObject({ code: 0 });
    expect(await holder()).toBe('');
    const traceIds = [first, second].flatMap((operator) =>
      operator.logs().flatMap((line) => (line.msg === 'run passed' ? [String(line['trace_id'])] : [])),
    );
    expect(traceIds.length).toBeGreaterThan(PROBES * 6 - 1);
    const signal = AbortSignal.timeout(20_000);
    for (const traceId of traceIds) {
      // The run, its six steps and the eight requests that these make.
      await waitForTrace(jaegerUrl, traceId, { signal, spans: 15 });
    }
    for (const name of names) expect(await bucketsOf(name)).toEqual([]);
  });
});

describe('an operator that is asked to end while a target does not answer', () => {
  it('gives up the run after its drain time, and what it cannot clean up in time', async () => {
    const faults = { GetObject: hang, DeleteObject: hang, ListObjectsV2: hang };
    await using target = await startFaultProxy(sharedStore.url, { faults });
    await using operator = await startReplica('only', '--drain-timeout=1s');
    const name = await startHanging(operator, target.url);
    await target.seen('GetObject');
    try {
      const askedMs = performance.now();
      expect(await operator.stop()).toMatchObject({ code: 0 });
      const endedMs = performance.now() - askedMs;
      expect(endedMs).toBeLessThan(DRAIN_MS + CLEAN_UP_MS + SLACK_MS);
      expect(target.requests.map(({ operation }) => operation)).toContain('DeleteObject');
      expect(await holder()).toBe('');
      expect((await namespace.get(name)).status?.lastRun).toBeUndefined();
    } finally {
      await removeBuckets(name);
    }
  });

  it('ends at once when it is asked again', async () => {
    await using target = await startSilentServer();
    await using operator = await startReplica('only', '--drain-timeout=20s', '--shutdown-timeout=25s');
    await startHanging(operator, `http://127.0.0.1:${target.port}`);
    const askedMs = performance.now();
    let exit: Exit | undefined;
    void operator.exited.then((ended) => (exit = ended));
    await until('it to end', SLACK_MS, () => {
      operator.kill('SIGTERM');
      return exit;
    });
    expect(performance.now() - askedMs).toBeLessThan(SLACK_MS);
  });
});

async function startHanging(operator: RunningOperator, endpoint: string): Promise<string> {
  const name = uniqueName('hangs');
  await namespace.apply(name, {
    schedule: { interval: '1m' },
    timeout: '50s',
    targets: [targetOf(name, endpoint)],
  });
  await until('the run to be under way', SLACK_MS, async () => {
    return [...(await operator.samples('storage_probe_runs_in_flight')).values()].includes(1);
  });
  return name;
}

function hang(): void {
  // No answer.
}
