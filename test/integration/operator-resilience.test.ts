import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

import {
  compactEtcd,
  type ControlPlane,
  OPERATOR,
  startControlPlane,
} from '../../deploy/local/control-plane.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { startApiServerProxy } from './api-server-proxy.ts';
import { type Exchange, startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { stablePort } from './ports.ts';
import { runCount, untilMoreRuns } from './probes.ts';
import {
  RECOVERY_MS,
  eventCounts,
  expectOnSchedule,
  isListOrWatch,
  createNamespace,
  createProbes,
  messagesOf,
  ONCE_A_DAY,
  specOf,
  startFastStatusOperator,
  sumOfSamples,
  untilAllHealthy,
  untilCaughtUp,
} from './resilience.ts';
import { removeBuckets, sharedStore, targetOf } from './store.ts';

const DEPLOY = new URL('../../deploy/', import.meta.url);
/** Longer than both the renew deadline and the lease duration. */
const OUTAGE_MS = 20_000;
/** Default of `--shutdown-timeout`. */
const SHUTDOWN_MS = 25_000;
const HANG_MS = 15_000;
/** The only Event of a healthy probe. */
const PASSED = [['Passed', 1]];

/** Separate from the shared control plane, because these tests kill it. */
let kube: ControlPlane;
let kubeconfigFile: string;
let dir: string;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  ({ path: dir } = resources.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-resilience-'))));
  kube = resources.use(await startControlPlane({ dir, port: await stablePort() }));
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml'])
    await applyManifests(kube, await readFile(new URL(file, DEPLOY), 'utf8'));
  kubeconfigFile = await kube.kubeconfigFor(OPERATOR);
});

afterAll(() => resources.disposeAsync());

it(
  'keeps probing during an API server outage, backs off, and then catches up with all changes',
  { timeout: 120_000 },
  async () => {
    const namespace = await createNamespace('outage', kube);
    const names = await createProbes(namespace, 20);
    const edited = uniqueName('edited');
    const deleted = uniqueName('deleted');
    const added = uniqueName('added');
    for (const name of [edited, deleted]) await namespace.apply(name, specOf(name, ONCE_A_DAY));
    await using operator = await startFastStatusOperator(namespace, { kubeconfigFile });
    await untilAllHealthy(namespace, [...names, edited, deleted]);
    const [first = ''] = names;
    await until('the Event of the first probe', RECOVERY_MS, async () =>
      isDeepStrictEqual(await eventCounts(namespace, first), PASSED),
    );

    const outageStartMs = Date.now();
    const failedBefore = await sumOfSamples(operator, 'rest_client_requests_total{', 'code="<error>"');
    await kube.killApiServer();
    await until(
      'the outage to be long enough',
      OUTAGE_MS + RECOVERY_MS,
      () => Date.now() - outageStartMs > OUTAGE_MS,
    );
    expect(await operator.samples('leader_election_master_status{')).toSatisfy(isAllZero);
    expect((await operator.get('/healthz')).status).toBe(200);
    expect((await operator.get('/readyz')).status).toBe(200);
    const failed =
      (await sumOfSamples(operator, 'rest_client_requests_total{', 'code="<error>"')) - failedBefore;
    expect(failed / (OUTAGE_MS / 1_000), 'failed requests a second').toBeLessThan(5);
    expect(messagesOf(operator, 'warn')).toContain('API server unavailable; still leading without the Lease');

    await kube.restartApiServer();
    const recoveredMs = Date.now();
    await namespace.apply(edited, { ...specOf(edited, ONCE_A_DAY), failureThreshold: 5 });
    await namespace.delete(deleted);
    await namespace.apply(added, specOf(added, ONCE_A_DAY));
    await untilCaughtUp(namespace, [...names, edited, added], recoveredMs);
    await until('the series of the deleted probe to be removed', RECOVERY_MS, async () => {
      return (await operator.samples(`probe="${deleted}"`)).size === 0;
    });
    await until('the Lease to be renewed', RECOVERY_MS, async () => {
      return (await sumOfSamples(operator, 'leader_election_master_status{')) === 1;
    });
    expectOnSchedule(operator, names, outageStartMs);
    expect(messagesOf(operator, 'warn')).not.toContain('lost leadership');
    expect(operator.logs().filter(({ level }) => level === 'error').length).toBeLessThan(40);
    // An API server that is still starting may send misleading responses. They must cause no Event.
    expect(await eventCounts(namespace, first)).toEqual(PASSED);
  },
);

it('misses no change and starts no extra run after its resource version was compacted', async () => {
  const namespace = await createNamespace('compacted', kube);
  const [busy = ''] = await createProbes(namespace, 1);
  const unchanged = uniqueName('unchanged');
  const edited = uniqueName('edited');
  const deleted = uniqueName('deleted');
  const recreated = uniqueName('recreated');
  const added = uniqueName('added');
  const daily = [unchanged, edited, deleted, recreated];
  for (const name of daily) await namespace.apply(name, specOf(name, ONCE_A_DAY));
  const proxied = join(dir, 'proxied.kubeconfig');
  await using proxy = await startApiServerProxy(kube, kubeconfigFile, proxied);
  await using operator = await startFastStatusOperator(namespace, { kubeconfigFile: proxied });
  await untilAllHealthy(namespace, [busy, ...daily]);
  await until('the Event of the unchanged probe', RECOVERY_MS, async () =>
    isDeepStrictEqual(await eventCounts(namespace, unchanged), PASSED),
  );
  const lists = await sumOfSamples(operator, 'storage_probe_reflector_lists_total');

  proxy.fault = (request) => (isListOrWatch(request) ? { status: 503 } : undefined);
  proxy.closeConnections();
  await namespace.apply(edited, { ...specOf(edited, ONCE_A_DAY), failureThreshold: 5 });
  await namespace.delete(deleted);
  await namespace.delete(recreated);
  await namespace.apply(recreated, specOf(recreated, ONCE_A_DAY));
  await namespace.apply(added, specOf(added, ONCE_A_DAY));
  await compactEtcd(kube);
  await kube.killApiServer();
  await kube.restartApiServer();
  const recoveredMs = Date.now();
  proxy.fault = () => undefined;

  await untilCaughtUp(namespace, [busy, edited, recreated, added], recoveredMs);
  await until('the series of the deleted probe to be removed', RECOVERY_MS, async () => {
    return (await operator.samples(`probe="${deleted}"`)).size === 0;
  });
  expect(await sumOfSamples(operator, 'storage_probe_reflector_lists_total')).toBeGreaterThan(lists);
  expect(operator.logs().map(({ msg }) => msg)).toContain('watch expired; relisting');
  await untilMoreRuns(operator, busy, 3);
  expect(await runCount(operator, unchanged)).toBe(1);
  expect(await runCount(operator, edited)).toBe(2);
  expect(await eventCounts(namespace, unchanged)).toEqual(PASSED);
});

it('keeps probing while the API server hangs, and then catches up', { timeout: 120_000 }, async () => {
  const namespace = await createNamespace('hang', kube);
  const names = await createProbes(namespace, 10);
  await using operator = await startFastStatusOperator(namespace, { kubeconfigFile });
  await untilAllHealthy(namespace, names);
  const fromMs = Date.now();
  kube.apiServer.kill('SIGSTOP');
  try {
    while (Date.now() - fromMs < HANG_MS) {
      expect((await operator.get('/healthz')).status).toBe(200);
      await Promise.all(names.map((name) => untilMoreRuns(operator, name, 1)));
    }
  } finally {
    kube.apiServer.kill('SIGCONT');
  }
  const recoveredMs = Date.now();
  await untilCaughtUp(namespace, names, recoveredMs);
  const lags = await operator.samples('storage_probe_start_lag_seconds_bucket{', 'trigger="schedule"');
  const countOf = (le: string): number[] =>
    [...lags].flatMap(([sample, count]) => (sample.includes(`le="${le}"`) ? [count] : []));
  expect(countOf('1'), 'runs that started within 1 s').toEqual(countOf('+Inf'));
  expectOnSchedule(operator, names, fromMs);
  expect(messagesOf(operator, 'warn')).not.toContain('lost leadership');
});

it(
  'shuts down in time while the API server, a target and the Collector do not respond',
  { timeout: 120_000 },
  async () => {
    const namespace = await createNamespace('unresponsive', kube);
    const [healthy = ''] = await createProbes(namespace, 1);
    let isHanging = false;
    const forwardUntilHanging = async (exchange: Exchange): Promise<void> => {
      if (!isHanging) exchange.send(await exchange.forward());
    };
    const faults = {
      GetObject: () => void (isHanging = true),
      DeleteObject: forwardUntilHanging,
      ListObjectsV2: forwardUntilHanging,
    };
    await using target = await startFaultProxy(sharedStore.url, { faults });
    await using collector = await startSilentServer();
    const hanging = uniqueName('hanging');
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}` };
    await using operator = await startFastStatusOperator(namespace, { kubeconfigFile, env });
    await untilAllHealthy(namespace, [healthy]);
    await namespace.apply(hanging, {
      ...specOf(hanging, ONCE_A_DAY),
      targets: [targetOf(hanging, target.url)],
    });
    await target.untilSeen('GetObject');
    kube.apiServer.kill('SIGSTOP');
    try {
      const stoppingMs = performance.now();
      expect(await operator.stop()).toMatchObject({ code: 0 });
      const shutdownMs = performance.now() - stoppingMs;
      expect(shutdownMs).toBeLessThan(SHUTDOWN_MS);
      const warnings = messagesOf(operator, 'warn');
      expect(warnings).toContain('could not release the Lease; standbys must wait until it expires');
      expect(warnings).not.toContain('shutdown timed out with work unfinished');
    } finally {
      kube.apiServer.kill('SIGCONT');
      await removeBuckets(hanging);
    }
  },
);

function isAllZero(samples: ReadonlyMap<string, number>): boolean {
  return samples.size > 0 && [...samples.values()].every((value) => value === 0);
}
