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
import { portToComeBackTo } from './ports.ts';
import { runsOf, untilRuns } from './probes.ts';
import {
  BACK_MS,
  eventsOf,
  expectOnSchedule,
  isListOrWatch,
  makeNamespace,
  makeProbes,
  messagesOf,
  ONCE_A_DAY,
  SLACK_MS,
  specOf,
  startWriter,
  sum,
  untilAllHealthy,
  untilCaughtUp,
} from './resilience.ts';
import { removeBuckets, sharedStore, targetOf } from './store.ts';

const DEPLOY = new URL('../../deploy/', import.meta.url);
/** Longer than a leader may go without renewing its Lease, and longer than a Lease counts. */
const OUTAGE_MS = 20_000;
/** Default of `--shutdown-timeout`. */
const SHUTDOWN_MS = 25_000;
const HANG_MS = 15_000;
/** The one Event of a probe that is well. */
const PASSED = [['Passed', 1]];

/** The tests kill it: it is theirs alone. */
let kube: ControlPlane;
let kubeconfigFile: string;
let dir: string;
const files = new AsyncDisposableStack();

beforeAll(async () => {
  ({ path: dir } = files.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-resilience-'))));
  kube = files.use(await startControlPlane({ dir, port: await portToComeBackTo() }));
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml'])
    await applyManifests(kube, await readFile(new URL(file, DEPLOY), 'utf8'));
  kubeconfigFile = await kube.kubeconfigFor(OPERATOR);
});

afterAll(() => files.disposeAsync());

it(
  'probes on while the API server is away, asks seldom, and catches up with all that changed',
  { timeout: 120_000 },
  async () => {
    const namespace = await makeNamespace('outage', kube);
    const names = await makeProbes(namespace, 20);
    const edited = uniqueName('edited');
    const deleted = uniqueName('deleted');
    const added = uniqueName('added');
    for (const name of [edited, deleted]) await namespace.apply(name, specOf(name, ONCE_A_DAY));
    await using operator = await startWriter(namespace, { kubeconfigFile });
    await untilAllHealthy(namespace, [...names, edited, deleted]);
    const [first = ''] = names;
    await until('its Event', BACK_MS, async () =>
      isDeepStrictEqual(await eventsOf(namespace, first), PASSED),
    );

    const awayMs = Date.now();
    const failedBefore = await sum(operator, 'rest_client_requests_total{', 'code="<error>"');
    await kube.killApiServer();
    await until('the outage to be long enough', OUTAGE_MS + BACK_MS, () => Date.now() - awayMs > OUTAGE_MS);
    expect(await operator.samples('leader_election_master_status{')).toSatisfy(isAllZero);
    expect((await operator.get('/healthz')).status).toBe(200);
    expect((await operator.get('/readyz')).status).toBe(200);
    const failed = (await sum(operator, 'rest_client_requests_total{', 'code="<error>"')) - failedBefore;
    expect(failed / (OUTAGE_MS / 1_000), 'failed requests a second').toBeLessThan(5);
    expect(messagesOf(operator, 'warn')).toContain('leads on without the Lease: nobody can take it either');

    await kube.restartApiServer();
    const backMs = Date.now();
    await namespace.apply(edited, { ...specOf(edited, ONCE_A_DAY), failureThreshold: 5 });
    await namespace.delete(deleted);
    await namespace.apply(added, specOf(added, ONCE_A_DAY));
    await untilCaughtUp(namespace, [...names, edited, added], backMs);
    await until('the deleted one to be forgotten', BACK_MS, async () => {
      return (await operator.samples(`probe="${deleted}"`)).size === 0;
    });
    await until('the Lease to be renewed', BACK_MS, async () => {
      return (await sum(operator, 'leader_election_master_status{')) === 1;
    });
    expectOnSchedule(operator, names, awayMs);
    expect(messagesOf(operator, 'warn')).not.toContain('lost the lead');
    expect(operator.logs().filter(({ level }) => level === 'error').length).toBeLessThan(40);
    // Nothing changed for them, whatever a server that is starting may have answered.
    expect(await eventsOf(namespace, first)).toEqual(PASSED);
  },
);

it('misses no change, and runs nothing for it, when the history it knew is gone', async () => {
  const namespace = await makeNamespace('compacted', kube);
  const [busy = ''] = await makeProbes(namespace, 1);
  const unchanged = uniqueName('unchanged');
  const edited = uniqueName('edited');
  const deleted = uniqueName('deleted');
  const again = uniqueName('again');
  const added = uniqueName('added');
  const rare = [unchanged, edited, deleted, again];
  for (const name of rare) await namespace.apply(name, specOf(name, ONCE_A_DAY));
  const proxied = join(dir, 'proxied.kubeconfig');
  await using proxy = await startApiServerProxy(kube, kubeconfigFile, proxied);
  await using operator = await startWriter(namespace, { kubeconfigFile: proxied });
  await untilAllHealthy(namespace, [busy, ...rare]);
  await until('its Event', BACK_MS, async () =>
    isDeepStrictEqual(await eventsOf(namespace, unchanged), PASSED),
  );
  const lists = await sum(operator, 'storage_probe_reflector_lists_total');

  proxy.fault = (request) => (isListOrWatch(request) ? { status: 503 } : undefined);
  proxy.cut();
  await namespace.apply(edited, { ...specOf(edited, ONCE_A_DAY), failureThreshold: 5 });
  await namespace.delete(deleted);
  await namespace.delete(again);
  await namespace.apply(again, specOf(again, ONCE_A_DAY));
  await namespace.apply(added, specOf(added, ONCE_A_DAY));
  await compactEtcd(kube);
  await kube.killApiServer();
  await kube.restartApiServer();
  const backMs = Date.now();
  proxy.fault = () => undefined;

  await untilCaughtUp(namespace, [busy, edited, again, added], backMs);
  await until('the deleted one to be forgotten', BACK_MS, async () => {
    return (await operator.samples(`probe="${deleted}"`)).size === 0;
  });
  expect(await sum(operator, 'storage_probe_reflector_lists_total')).toBeGreaterThan(lists);
  expect(operator.logs().map(({ msg }) => msg)).toContain('watch fell behind; listing again');
  await untilRuns(operator, busy, 3);
  expect(await runsOf(operator, unchanged)).toBe(1);
  expect(await runsOf(operator, edited)).toBe(2);
  expect(await eventsOf(namespace, unchanged)).toEqual(PASSED);
});

it(
  'probes on while the API server hangs, and catches up once it answers again',
  { timeout: 120_000 },
  async () => {
    const namespace = await makeNamespace('hang', kube);
    const names = await makeProbes(namespace, 10);
    await using operator = await startWriter(namespace, { kubeconfigFile });
    await untilAllHealthy(namespace, names);
    const fromMs = Date.now();
    kube.apiServer.kill('SIGSTOP');
    try {
      while (Date.now() - fromMs < HANG_MS) {
        expect((await operator.get('/healthz')).status).toBe(200);
        await Promise.all(names.map((name) => untilRuns(operator, name, 1)));
      }
    } finally {
      kube.apiServer.kill('SIGCONT');
    }
    const backMs = Date.now();
    await untilCaughtUp(namespace, names, backMs);
    const lags = await operator.samples('storage_probe_start_lag_seconds_bucket{', 'trigger="schedule"');
    const countOf = (le: string): number[] =>
      [...lags].flatMap(([sample, count]) => (sample.includes(`le="${le}"`) ? [count] : []));
    expect(countOf('1'), 'runs that started within 1 s').toEqual(countOf('+Inf'));
    expectOnSchedule(operator, names, fromMs);
    expect(messagesOf(operator, 'warn')).not.toContain('lost the lead');
  },
);

it(
  'ends in time while neither the API server nor a target nor the Collector answers',
  { timeout: 120_000 },
  async () => {
    const namespace = await makeNamespace('deaf', kube);
    const [well = ''] = await makeProbes(namespace, 1);
    let isDead = false;
    const dies = async (exchange: Exchange): Promise<void> => {
      if (!isDead) exchange.send(await exchange.forward());
    };
    const faults = { GetObject: () => void (isDead = true), DeleteObject: dies, ListObjectsV2: dies };
    await using target = await startFaultProxy(sharedStore.url, { faults });
    await using collector = await startSilentServer();
    const dead = uniqueName('dead');
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}` };
    await using operator = await startWriter(namespace, { kubeconfigFile, env });
    await untilAllHealthy(namespace, [well]);
    await namespace.apply(dead, { ...specOf(dead, ONCE_A_DAY), targets: [targetOf(dead, target.url)] });
    await target.seen('GetObject');
    kube.apiServer.kill('SIGSTOP');
    try {
      const askedMs = performance.now();
      expect(await operator.stop()).toMatchObject({ code: 0 });
      const endedMs = performance.now() - askedMs;
      expect(endedMs).toBeLessThan(SHUTDOWN_MS + SLACK_MS);
      expect(messagesOf(operator, 'warn')).toContain('the lead was not released and has to expire');
    } finally {
      kube.apiServer.kill('SIGCONT');
      await removeBuckets(dead);
    }
  },
);

function isAllZero(samples: ReadonlyMap<string, number>): boolean {
  return samples.size > 0 && [...samples.values()].every((value) => value === 0);
}
