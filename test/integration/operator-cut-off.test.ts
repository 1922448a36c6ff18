import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';

import { ephemeralBucket, objectKey } from '../../src/probe/names.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { startApiServerProxy } from './api-server-proxy.ts';
import { type RunningOperator, startOperator } from './operator.ts';
import { runCount, untilMoreRuns } from './probes.ts';
import { createNamespace, eventCounts, messagesOf, RECOVERY_MS, untilAllHealthy } from './resilience.ts';
import {
  adminOf,
  bucketsOf,
  createBucket,
  FOREIGN_OBJECT,
  keysIn,
  removeBuckets,
  sharedStore,
  targetOf,
} from './store.ts';

const { kube } = inject('servers');
/** Has rights in all buckets. */
const ROOT = { accessKey: sharedStore.rootUser, secretKey: sharedStore.rootPassword };
/** The long form takes several minutes and a machine that is otherwise idle. */
const IS_LONG = process.env['STORAGE_PROBE_LONG_TESTS'] === '1';
const PROBES = IS_LONG ? 50 : 12;
const CUT_OFF_MS = IS_LONG ? 60_000 : 25_000;
const TAKEOVER_MS = 25_000;
const INTERVAL = '2s';
const ONLY_PASSED = [['Passed', 1]];

it(
  'two leaders, of which one is cut off from the API server, do not disturb each other',
  { timeout: CUT_OFF_MS + 120_000 },
  async () => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-cut-off-'));
    await using bucket = await createBucket();
    const namespace = await createNamespace('cut-off');
    await namespace.putSecret('probe-user', ROOT);
    const names = Array.from({ length: PROBES }, () => uniqueName('probe'));
    for (const [index, name] of names.entries()) {
      await namespace.apply(name, {
        schedule: { interval: INTERVAL },
        timeout: '1900ms',
        targets: [targetOf(name, sharedStore.url)],
        ...(index % 2 === 0 && { bucket: { mode: 'Existing', name: bucket.name } }),
      });
    }
    const kubeconfigFile = join(dir.path, 'proxied.kubeconfig');
    await using proxy = await startApiServerProxy(kube, kube.operatorKubeconfigFile, kubeconfigFile);
    const leaderElectionId = uniqueName('cut-off');
    const start = (identity: string, more: object): Promise<RunningOperator> =>
      startOperator({
        namespaces: [namespace.name],
        leaderElectionId,
        flags: [`--identity=${identity}`, '--status-heartbeat=2s'],
        ...more,
      });
    await using first = await start('first', { kubeconfigFile });
    await untilAllHealthy(namespace, names);
    await using second = await start('second', {});

    proxy.fault = () => ({ disconnect: true });
    proxy.closeConnections();
    const cutOffMs = performance.now();
    await until('the second replica to lead', TAKEOVER_MS, () =>
      messagesOf(second, 'info').includes('became the leader'),
    );
    await until(
      'the cut to be long enough',
      CUT_OFF_MS,
      () => performance.now() - cutOffMs > CUT_OFF_MS - 5_000,
    );
    // Both lead: the first without the Lease.
    await Promise.all(
      [first, second].flatMap((operator) => names.map((name) => untilMoreRuns(operator, name, 2))),
    );
    proxy.fault = () => undefined;
    await until('the first replica to step down', RECOVERY_MS, () =>
      messagesOf(first, 'warn').includes('lost leadership'),
    );
    await Promise.all(names.map((name) => untilMoreRuns(second, name, 3)));

    for (const operator of [first, second]) {
      expect(operator.logs().filter(({ msg }) => msg === 'run did not pass')).toEqual([]);
    }
    for (const name of names) {
      expect(await eventCounts(namespace, name)).toEqual(ONLY_PASSED);
      await namespace.untilHealthy(name);
      expect(await runCount(first, name)).toBe(0);
    }
    expect(await first.stop()).toMatchObject({ code: 0 });
    expect(await second.stop()).toMatchObject({ code: 0 });
    for (const name of names) expect(await bucketsOf(name)).toEqual([]);
    expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
  },
);

it('two installations that watch the same namespace do not disturb each other', async () => {
  await using bucket = await createBucket();
  const namespace = await createNamespace('installations');
  await namespace.putSecret('probe-user', ROOT);
  const names = Array.from({ length: 6 }, () => uniqueName('probe'));
  for (const [index, name] of names.entries()) {
    await namespace.apply(name, {
      schedule: { interval: '1s' },
      targets: [targetOf(name, sharedStore.url)],
      ...(index % 2 === 0 && { bucket: { mode: 'Existing', name: bucket.name } }),
    });
  }
  await using first = await startOperator({ namespaces: [namespace.name] });
  await using second = await startOperator({ namespaces: [namespace.name] });
  await Promise.all(
    [first, second].flatMap((operator) => names.map((name) => untilMoreRuns(operator, name, 5))),
  );
  for (const operator of [first, second]) {
    expect(operator.logs().filter(({ msg }) => msg === 'run did not pass')).toEqual([]);
    expect(await operator.stop()).toMatchObject({ code: 0 });
  }
  for (const name of names) {
    expect(new Set((await namespace.events(name)).map(({ reason }) => reason))).toEqual(new Set(['Passed']));
    expect(await bucketsOf(name)).toEqual([]);
  }
  expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
});

it(
  "a new leader removes a crashed leader's leftovers, but nothing of another installation",
  { timeout: 90_000 },
  async () => {
    const namespace = await createNamespace('takeover');
    await namespace.putSecret('probe-user', ROOT);
    const leaderElectionId = uniqueName('takeover');
    await using bucket = await createBucket();
    const ephemeral = uniqueName('ephemeral');
    const existing = uniqueName('existing');
    const schedule = { interval: '1s' };
    await namespace.apply(ephemeral, { schedule, targets: [targetOf(ephemeral, sharedStore.url)] });
    await namespace.apply(existing, {
      schedule,
      targets: [targetOf(existing, sharedStore.url)],
      bucket: { mode: 'Existing', name: bucket.name },
    });
    const start = (identity: string): Promise<RunningOperator> =>
      startOperator({ namespaces: [namespace.name], leaderElectionId, flags: [`--identity=${identity}`] });
    await using first = await start('first');
    await untilAllHealthy(namespace, [ephemeral, existing]);
    first.kill('SIGKILL');
    await first.exited;

    const [ownBucket, ownKey] = await plant(leaderElectionId);
    const [foreignBucket, foreignKey] = await plant('other');
    await using second = await start('second');
    // A run of the crashed leader and its clean-up could take 11 s, and only then are its names free.
    await until('the leftovers to be removed', 60_000, async () => {
      const [buckets, keys] = [await bucketsOf(ephemeral), await keysIn(bucket.name)];
      return !buckets.includes(ownBucket) && !keys.includes(ownKey);
    });
    expect(second.logs().filter(({ msg }) => msg === 'run did not pass')).toEqual([]);
    expect(await second.stop()).toMatchObject({ code: 0 });
    expect(await bucketsOf(ephemeral)).toEqual([foreignBucket]);
    expect((await keysIn(bucket.name)).toSorted()).toEqual([FOREIGN_OBJECT, foreignKey].toSorted());
    await removeBuckets(ephemeral);

    /** Leaves what killed runs of the first leader with this Lease would leave: a bucket, and an object. */
    async function plant(lease: string): Promise<[bucket: string, key: string]> {
      const own = await identityOf(ephemeral, lease);
      const ownBucketName = ephemeralBucket(own);
      if (!(await bucketsOf(ephemeral)).includes(ownBucketName)) await adminOf().makeBucket(ownBucketName);
      await adminOf().putObject(ownBucketName, objectKey(own, 0, 8), 'leftover');
      const key = objectKey(await identityOf(existing, lease), 0, 8);
      await adminOf().putObject(bucket.name, key, 'leftover');
      return [ownBucketName, key];
    }

    async function identityOf(probe: string, lease: string): Promise<Parameters<typeof objectKey>[0]> {
      const { uid } = (await namespace.get(probe)).metadata;
      return {
        owner: `${uid}@storage-probe/${lease}/0`,
        probe: { namespace: namespace.name, name: probe },
        target: { name: probe },
        runId: 'killed-run',
      };
    }
  },
);
