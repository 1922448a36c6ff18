import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startMinio } from '../../deploy/local/minio.ts';
import type { Condition } from '../../src/api/conditions.ts';
import { CANARY, expectNoCanary } from '../support/canary.ts';
import { OPENMETRICS } from '../support/exposition.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type Faults, startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { type RunningOperator, startOperator } from './operator.ts';
import { portToComeBackTo } from './ports.ts';
import {
  conditionOf,
  everySecond,
  expectGoodEnd,
  makeCanaryUser,
  makeProbeNamespace,
  type Probe,
  type ProbeEvent,
  type ProbeNamespace,
  runsOf,
  targetStatusOf,
  untilRuns,
} from './probes.ts';
import {
  bucketsOf,
  keysIn,
  makeBucket,
  OTHERS_OBJECT,
  sharedStore,
  targetOf,
  temporaryCredentials,
} from './store.ts';

/** No run but those that a test asks for. */
const RARELY = { schedule: { interval: '24h' } };
/** Longer than a run and its clean-up may take. */
const GIVEN_UP_MS = 30_000;

let namespace: ProbeNamespace;
let operator: RunningOperator;
/** The probe that nothing happens to. */
let other: string;

beforeAll(async () => {
  namespace = await makeProbeNamespace('faults');
  await namespace.putSecret('probe-user', { ...(await makeCanaryUser()) });
  operator = await startOperator({ namespaces: [namespace.name] });
  other = uniqueName('other');
  await namespace.apply(other, everySecond(other, sharedStore.url, { failureThreshold: 100 }));
  await namespace.untilHealthy(other);
});

afterAll(() => expectGoodEnd(namespace, operator));

describe.concurrent('a MinIO that is stopped', () => {
  it('is unhealthy after failureThreshold runs, with one trace for all that is told, and then well again', async () => {
    await using store = await startOwnMinio();
    const [name, regular] = [uniqueName('stopped'), uniqueName('regular')];
    await namespace.putSecret('root', { accessKey: store.rootUser, secretKey: CANARY });
    const target = (probe: string): object => ({
      ...targetOf(probe, store.url),
      credentialsSecretRef: { name: 'root' },
    });
    await namespace.apply(name, { ...RARELY, failureThreshold: 2, targets: [target(name)] });
    await namespace.apply(
      regular,
      everySecond(regular, store.url, { failureThreshold: 2, targets: [target(regular)] }),
    );
    await Promise.all([namespace.untilHealthy(name), namespace.untilHealthy(regular)]);

    await store.stop();
    await namespace.requestRun(name, 'first');
    const failed = await namespace.until('to fail', name, isVerdict(name, 'Failed'));
    expect(conditionOf(failed.status, 'Healthy')).toMatchObject({ status: 'True' });
    expect(await healthyMetric(name)).toEqual([1]);
    await namespace.requestRun(name, 'second');
    const { status } = await namespace.until('to be unhealthy', name, isHealthy('False'));
    const { traceId = '' } = status?.lastRun ?? {};
    expect(conditionOf(status, 'Healthy')).toMatchObject({
      reason: 'ConnectionRefused',
      message: expect.stringMatching(
        new RegExp(`^${name} ConnectionRefused at CHECK_BUCKET: .*\\(trace ${traceId}\\)$`),
      ) as string,
    });
    expect(targetStatusOf(status, name)).toMatchObject({
      reason: 'ConnectionRefused',
      consecutiveFailures: 2,
    });
    const [warning, ...more] = await untilWarned(name);
    expect(more).toEqual([]);
    expect(warning).toMatchObject({ reason: 'ConnectionRefused', action: 'Probe' });
    expect(warning?.note).toBe(conditionOf(status, 'Healthy')?.message);
    expect(await healthyMetric(name)).toEqual([0]);
    const { body } = await operator.get('/metrics', OPENMETRICS);
    const counter = body
      .split('\n')
      .find((line) => /^storage_probe_runs_total.*ConnectionRefused/.test(line) && line.includes(name));
    expect(counter).toContain(` 2 # {trace_id="${traceId}"}`);
    expect(operator.logs().filter((line) => line['trace_id'] === traceId)).toMatchObject([
      { level: 'warn', msg: 'run did not pass', reason: 'ConnectionRefused' },
    ]);

    // On schedule, the same failure is told once, however many runs see it.
    await namespace.until('to be unhealthy', regular, isHealthy('False'));
    await untilRuns(operator, regular, 3, 'ConnectionRefused');
    expect(await untilWarned(regular)).toHaveLength(1);

    await store.startAgain();
    await namespace.untilHealthy(regular);
    expect(await healthyMetric(regular)).toEqual([1]);
    const events = await until('the Event', 10_000, async () => {
      const found = await namespace.events(regular);
      return timesTold(found, 'Passed') === 2 && found;
    });
    expect(events).toHaveLength(2);
    expect(events.filter(({ type }) => type === 'Warning')).toHaveLength(1);
    expect(timesTold(events.filter(({ type }) => type === 'Warning'))).toBe(1);
  });
});

describe.concurrent('several targets', () => {
  it('of which one fails: the probe is unhealthy for its reason, and the others are visited all the same', async () => {
    const name = uniqueName('several');
    const dead = `http://127.0.0.1:${await portToComeBackTo()}`;
    await using silent = await startSilentServer();
    const targets = [
      targetOf(`${name}-a`, sharedStore.url),
      targetOf(`${name}-b`, dead),
      targetOf(`${name}-c`, sharedStore.url),
    ];
    await namespace.apply(name, everySecond('', '', { targets, failureThreshold: 1 }));
    const { status } = await namespace.until(
      'to be unhealthy with all targets visited',
      name,
      (probe) =>
        isHealthy('False')(probe) &&
        probe.status?.targets?.every(({ lastRun }) => lastRun !== undefined) === true,
    );
    const healthy = conditionOf(status, 'Healthy');
    expect(healthy?.reason).toBe('ConnectionRefused');
    expect(healthy?.message).toMatch(
      new RegExp(`^1 of 3 targets fail: ${name}-b ConnectionRefused at CHECK_BUCKET: `),
    );
    expect(status?.targets?.map(({ verdict }) => verdict)).toEqual(['Passed', 'Failed', 'Passed']);
    expect(status?.lastRun?.target).toBe(`${name}-b`);
    await untilRuns(operator, name, 2, `target="${name}-c"`, 'verdict="Passed"');

    const slow = targetOf(`${name}-c`, `http://127.0.0.1:${silent.port}`);
    await namespace.apply(
      name,
      everySecond('', '', { targets: [...targets.slice(0, 2), slow], timeout: '500ms', failureThreshold: 1 }),
    );
    const { status: both } = await namespace.until(
      'to have several reasons',
      name,
      (probe) => conditionOf(probe.status, 'Healthy')?.reason === 'SeveralReasons',
    );
    expect(conditionOf(both, 'Healthy')?.message).toMatch(
      /^2 of 3 targets fail: \S+-b ConnectionRefused at CHECK_BUCKET: .*; \S+-c Timeout at CHECK_BUCKET: /,
    );
    expect(await healthyMetric(name)).toEqual([1, 0, 0]);
  });
});

describe.concurrent('a bucket that is there already', () => {
  it('is used with the least rights, and keeps what was in it', async () => {
    await using bucket = await makeBucket();
    const name = uniqueName('existing');
    const {
      accessKey,
      secretKey,
      sessionToken = '',
    } = await temporaryCredentials([
      { Action: ['s3:ListBucket'], Resource: [`arn:aws:s3:::${bucket.name}`] },
      {
        Action: ['s3:PutObject', 's3:GetObject', 's3:DeleteObject'],
        Resource: [`arn:aws:s3:::${bucket.name}/storage-probe/*`],
      },
    ]);
    await namespace.putSecret(name, { accessKey, secretKey, sessionToken });
    const target = { ...targetOf(name, sharedStore.url), credentialsSecretRef: { name } };
    const spec = { targets: [target], bucket: { mode: 'Existing', name: bucket.name } };
    await namespace.apply(name, everySecond(name, '', spec));
    await namespace.untilHealthy(name);
    await untilRuns(operator, name, 2, 'verdict="Passed"');
    await namespace.delete(name);
    await until('the clean-up', 10_000, async () => (await keysIn(bucket.name)).length === 1);
    expect(await keysIn(bucket.name)).toEqual([OTHERS_OBJECT]);
  });
});

describe.concurrent('a probe whose target is dead', () => {
  it('is deleted at once, and what cannot be cleaned up is given up', async () => {
    const name = uniqueName('dead');
    const faults: Record<string, Faults[string]> = { GetObject: () => undefined };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    await namespace.apply(name, { ...RARELY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.seen('GetObject');
    for (const operation of ['HeadObject', 'DeleteObject', 'DeleteBucket', 'ListObjectsV2'])
      faults[operation] = () => undefined;
    const deletedMs = performance.now();
    await namespace.kubectl('delete', 'sprobe', name, '--timeout=5s');
    expect(performance.now() - deletedMs).toBeLessThan(5_000);

    // Meanwhile others are probed as ever.
    await untilRuns(operator, other, 3, 'verdict="Passed"');
    const given = await until('the clean-up to be given up', GIVEN_UP_MS, () =>
      operator.logs().find(({ msg, ...line }) => msg === 'not all was cleaned up' && line['target'] === name),
    );
    expect(given).toMatchObject({ level: 'warn', probe: `${namespace.name}/${name}`, reason: 'Timeout' });
    await untilRuns(operator, other, 2, 'verdict="Passed"');
    expect((await operator.get('/healthz')).status).toBe(200);
    expect(await runsOf(operator, name)).toBe(0);
    expect(await bucketsOf(name)).toHaveLength(1);
  });
});

describe.concurrent('an address that is not allowed', () => {
  it('is told of, and not connected to', async () => {
    const own = await makeProbeNamespace('addresses');
    await own.putSecret('probe-user', { ...(await makeCanaryUser()) });
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as { port: number };
    await using strict = await startOperator({ namespaces: [own.name], flags: ['--allow-addresses='] });
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:7f00:1]']) {
      const name = uniqueName('address');
      await own.apply(name, everySecond(name, `http://${host}:${port}`));
      const { status } = await own.until(
        'to have run',
        name,
        (probe) => conditionOf(probe.status, 'Healthy')?.reason === 'AddressNotAllowed',
      );
      expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown' });
      expect(targetStatusOf(status, name)).toMatchObject({ verdict: 'Unknown', consecutiveFailures: 0 });
    }
    expect(connections).toBe(0);
    server.close();
    expectNoCanary({ output: strict.output() });
  });
});

interface OwnMinio extends AsyncDisposable {
  readonly url: string;
  readonly rootUser: string;
  stop(): Promise<void>;
  /** With the same data, where it was. */
  startAgain(): Promise<void>;
}

async function startOwnMinio(): Promise<OwnMinio> {
  await using started = new AsyncDisposableStack();
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-minio-')));
  const options = { dir, port: await portToComeBackTo(), rootUser: 'root-user', rootPassword: CANARY };
  let minio = started.use(await startMinio(options));
  const own = started.move();
  return {
    url: minio.url,
    rootUser: minio.rootUser,
    stop: () => minio.stop(),
    async startAgain() {
      minio = own.use(await startMinio(options));
    },
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}

function isHealthy(status: Condition['status']): (probe: Probe) => boolean {
  return (probe) => conditionOf(probe.status, 'Healthy')?.status === status;
}

function isVerdict(target: string, verdict: string): (probe: Probe) => boolean {
  return ({ status }) => targetStatusOf(status, target)?.verdict === verdict;
}

async function healthyMetric(probe: string): Promise<number[]> {
  return [...(await operator.samples('storage_probe_healthy{', `probe="${probe}"`)).values()];
}

function untilWarned(probe: string): Promise<ProbeEvent[]> {
  return until(`a warning of ${probe}`, 10_000, async () => {
    const warnings = (await namespace.events(probe)).filter(({ type }) => type === 'Warning');
    return warnings.length > 0 && warnings;
  });
}

/** How often something was told, in Events that count. */
function timesTold(events: readonly ProbeEvent[], reason?: string): number {
  return events
    .filter((event) => reason === undefined || event.reason === reason)
    .reduce((sum, { series }) => sum + (series?.count ?? 1), 0);
}
