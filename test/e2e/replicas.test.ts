import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { duplicateRuns, longestGapMs, missedRuns, type RunTime } from '../support/run-times.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import {
  installOperator,
  kubectl,
  leaseHolder,
  createProbeNamespace,
  execOnNode,
  operatorPods,
  type ProbeNamespace,
  runTimes,
  samplesOf,
} from './cluster.ts';
import { OPERATOR } from './releases.ts';

/** More than twice as long as a hand-over, so that a run that falls due during a hand-over is late but not skipped. */
const INTERVAL_MS = 4_000;
const LEASE_MS = 15_000;
/** Margin for a busy machine. */
const SLACK_MS = 5_000;
const TIMEOUT_MS = 60_000;
const POLL_MS = 250;

describe('two replicas', () => {
  const started = new AsyncDisposableStack();
  const probes = Array.from({ length: 4 }, () => uniqueName('replicas'));
  let namespace: ProbeNamespace;

  beforeAll(async () => {
    namespace = await createProbeNamespace('replicas');
    started.use(await installOperator({ replicaCount: 2, watchNamespaces: [namespace.name] }));
    started.use(namespace);
    await Promise.all(probes.map((probe) => namespace.applyProbe(probe, `${INTERVAL_MS}ms`)));
    await Promise.all(probes.map((probe) => namespace.untilHealthy(probe)));
  });
  afterAll(() => started.disposeAsync());

  it('are both ready, and only the leader runs the probes', async () => {
    const pods = await operatorPods();
    expect(pods).toHaveLength(2);
    for (const pod of pods) {
      const isLeader = (await leaseHolder()).startsWith(`${pod}_`);
      expect([...(await samplesOf(pod, 'leader_election_master_status')).values()]).toEqual([
        Number(isLeader),
      ]);
      const runs = await samplesOf(pod, 'storage_probe_runs_total', `namespace="${namespace.name}"`);
      expect(runs.size).toBe(isLeader ? probes.length : 0);
    }
  });

  it("hand over when the leader's Pod is deleted, without a duplicate or missed run", async () => {
    const before = await leaseHolder();
    const fromMs = Date.now();
    await untilRunsSince(fromMs, 3);
    await kubectl('delete', 'pod', podOf(before), `--namespace=${OPERATOR}`);
    const deletedMs = Date.now();
    const after = await untilOtherLeader(before, SLACK_MS);
    expect(podOf(after)).not.toBe(podOf(before));

    const runs = await untilRunsSince(deletedMs, 3, fromMs);
    expect(duplicateRuns(runs, INTERVAL_MS)).toEqual([]);
    expect(missedRuns(runs, INTERVAL_MS)).toEqual([]);
    expect([...(await samplesOf(podOf(after), 'storage_probe_runs_missed_total')).values()]).toEqual([0]);
    await kubectl('rollout', 'status', `deployment/${OPERATOR}`, `--namespace=${OPERATOR}`, '--timeout=60s');
  });

  it('fail over within the lease duration when the leader crashes, without a duplicate run', async () => {
    const before = await leaseHolder();
    const fromMs = Date.now();
    await untilRunsSince(fromMs, 2);
    await execOnNode(podOf(before), 'kill -KILL "$@"');
    const killedMs = Date.now();
    await untilOtherLeader(before, LEASE_MS + SLACK_MS);

    const runs = await untilRunsSince(killedMs, 3, fromMs);
    expect(duplicateRuns(runs, INTERVAL_MS)).toEqual([]);
    expect(longestGapMs(runs)).toBeLessThan(LEASE_MS + 2 * INTERVAL_MS + SLACK_MS);
    await Promise.all(probes.map((probe) => namespace.untilHealthy(probe)));
  });

  /** Waits until each probe has `count` runs since `sinceMs`. Returns all runs since `fromMs`. */
  function untilRunsSince(sinceMs: number, count: number, fromMs = sinceMs): Promise<Map<string, RunTime[]>> {
    return until(
      `${count} more runs of each probe`,
      TIMEOUT_MS,
      async () => {
        const all = await runTimes(probes);
        const haveRun = [...all.values()].every(
          (runs) => runs.filter(({ startMs }) => startMs > sinceMs).length >= count,
        );
        const since = [...all].map(
          ([probe, runs]) => [probe, runs.filter(({ startMs }) => startMs > fromMs)] as const,
        );
        return haveRun && new Map(since);
      },
      POLL_MS,
    );
  }
});

function untilOtherLeader(before: string, timeoutMs: number): Promise<string> {
  const otherLeader = async (): Promise<string | undefined> => {
    const now = await leaseHolder();
    return [before, ''].includes(now) ? undefined : now;
  };
  return until('another leader', timeoutMs, otherLeader, POLL_MS);
}

function podOf(identity: string): string {
  return identity.slice(0, identity.lastIndexOf('_'));
}
