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
import { stablePort } from './ports.ts';
import {
  conditionOf,
  everySecondSpec,
  expectCleanShutdown,
  createCanaryUser,
  createProbeNamespace,
  type Probe,
  type ProbeEvent,
  type ProbeNamespace,
  runCount,
  targetStatusOf,
  untilMoreRuns,
} from './probes.ts';
import {
  bucketsOf,
  keysIn,
  createBucket,
  FOREIGN_OBJECT,
  sharedStore,
  targetOf,
  temporaryCredentials,
} from './store.ts';

/** Rare enough that only the first run and requested runs start during a test. */
const DAILY = { schedule: { interval: '24h' } };
/** Longer than a run and its clean-up can take. */
const GIVE_UP_MS = 30_000;

let namespace: ProbeNamespace;
let operator: RunningOperator;
/** A probe that no fault affects. */
let bystander: string;

beforeAll(async () => {
  namespace = await createProbeNamespace('faults');
  await namespace.putSecret('probe-user', { ...(await createCanaryUser()) });
  operator = await startOperator({ namespaces: [namespace.name] });
  bystander = uniqueName('bystander');
  await namespace.apply(bystander, everySecondSpec(bystander, sharedStore.url, { failureThreshold: 100 }));
  await namespace.untilHealthy(bystander);
});

afterAll(() => expectCleanShutdown(namespace, operator));

describe.concurrent('a stopped MinIO', () => {
  it('makes its probe unhealthy after failureThreshold runs, with the same trace ID everywhere', async () => {
    await using store = await startRestartableMinio();
    const [name, regular] = [uniqueName('stopped'), uniqueName('regular')];
    await namespace.putSecret('root', { accessKey: store.rootUser, secretKey: CANARY });
    const target = (probe: string): object => ({
      ...targetOf(probe, store.url),
      credentialsSecretRef: { name: 'root' },
    });
    await namespace.apply(name, { ...DAILY, failureThreshold: 2, targets: [target(name)] });
    await namespace.apply(
      regular,
      everySecondSpec(regular, store.url, { failureThreshold: 2, targets: [target(regular)] }),
    );
    await Promise.all([namespace.untilHealthy(name), namespace.untilHealthy(regular)]);

    await store.stop();
    await namespace.requestRun(name, 'first');
    const failedOnce = await namespace.until('to fail', name, hasVerdict(name, 'Failed'));
    expect(conditionOf(failedOnce.status, 'Healthy')).toMatchObject({ status: 'True' });
    expect(await healthyMetric(name)).toEqual([1]);
    await namespace.requestRun(name, 'second');
    const { status } = await namespace.until('to be unhealthy', name, hasHealthyStatus('False'));
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

    // Repeated failures on schedule cause a single warning.
    await namespace.until('to be unhealthy', regular, hasHealthyStatus('False'));
    await untilMoreRuns(operator, regular, 3, 'ConnectionRefused');
    expect(await untilWarned(regular)).toHaveLength(1);

    await store.restart();
    await namespace.untilHealthy(regular);
    expect(await healthyMetric(regular)).toEqual([1]);
    const events = await until('the second Passed Event', 10_000, async () => {
      const found = await namespace.events(regular);
      return eventCount(found, 'Passed') === 2 && found;
    });
    expect(events).toHaveLength(2);
    expect(events.filter(({ type }) => type === 'Warning')).toHaveLength(1);
    expect(eventCount(events.filter(({ type }) => type === 'Warning'))).toBe(1);
  });
});

describe.concurrent('a probe with several targets', () => {
  it('reports the reason of the failed target and keeps probing the others', async () => {
    const name = uniqueName('several');
    const refusingUrl = `http://127.0.0.1:${await stablePort()}`;
    await using silent = await startSilentServer();
    const targets = [
      targetOf(`${name}-a`, sharedStore.url),
      targetOf(`${name}-b`, refusingUrl),
      targetOf(`${name}-c`, sharedStore.url),
    ];
    await namespace.apply(name, everySecondSpec('', '', { targets, failureThreshold: 1 }));
    const { status } = await namespace.until(
      'to be unhealthy with all targets probed',
      name,
      (probe) =>
        hasHealthyStatus('False')(probe) &&
        probe.status?.targets?.every(({ lastRun }) => lastRun !== undefined) === true,
    );
    const healthy = conditionOf(status, 'Healthy');
    expect(healthy?.reason).toBe('ConnectionRefused');
    expect(healthy?.message).toMatch(
      new RegExp(`^1 of 3 targets unhealthy: ${name}-b ConnectionRefused at CHECK_BUCKET: `),
    );
    expect(status?.targets?.map(({ verdict }) => verdict)).toEqual(['Passed', 'Failed', 'Passed']);
    expect(status?.lastRun?.target).toBe(`${name}-b`);
    await untilMoreRuns(operator, name, 2, `target="${name}-c"`, 'verdict="Passed"');

    const slow = targetOf(`${name}-c`, `http://127.0.0.1:${silent.port}`);
    await namespace.apply(
      name,
      everySecondSpec('', '', {
        targets: [...targets.slice(0, 2), slow],
        timeout: '500ms',
        failureThreshold: 1,
      }),
    );
    const { status: laterStatus } = await namespace.until(
      'to have several reasons',
      name,
      (probe) => conditionOf(probe.status, 'Healthy')?.reason === 'SeveralReasons',
    );
    expect(conditionOf(laterStatus, 'Healthy')?.message).toMatch(
      /^2 of 3 targets unhealthy: \S+-b ConnectionRefused at CHECK_BUCKET: .*; \S+-c Timeout at CHECK_BUCKET: /,
    );
    expect(await healthyMetric(name)).toEqual([1, 0, 0]);
  });
});

describe.concurrent('an Existing bucket', () => {
  it('is probed with minimal rights and keeps its other objects', async () => {
    await using bucket = await createBucket();
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
    await namespace.apply(name, everySecondSpec(name, '', spec));
    await namespace.untilHealthy(name);
    await untilMoreRuns(operator, name, 2, 'verdict="Passed"');
    await namespace.delete(name);
    await until('the clean-up', 10_000, async () => (await keysIn(bucket.name)).length === 1);
    expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
  });
});

describe.concurrent('a probe of an unresponsive target', () => {
  it('is deleted at once, and its clean-up is given up', async () => {
    const name = uniqueName('unresponsive');
    const faults: Record<string, Faults[string]> = { GetObject: () => undefined };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    await namespace.apply(name, { ...DAILY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.untilSeen('GetObject');
    for (const operation of ['HeadObject', 'DeleteObject', 'DeleteBucket', 'ListObjectsV2'])
      faults[operation] = () => undefined;
    const deletedMs = performance.now();
    await namespace.kubectl('delete', 'sprobe', name, '--timeout=5s');
    expect(performance.now() - deletedMs).toBeLessThan(5_000);

    // Other probes keep running.
    await untilMoreRuns(operator, bystander, 3, 'verdict="Passed"');
    const warning = await until('the clean-up to be given up', GIVE_UP_MS, () =>
      operator.logs().find(({ msg, ...line }) => msg === 'clean-up incomplete' && line['target'] === name),
    );
    expect(warning).toMatchObject({ level: 'warn', probe: `${namespace.name}/${name}`, reason: 'Timeout' });
    await untilMoreRuns(operator, bystander, 2, 'verdict="Passed"');
    expect((await operator.get('/healthz')).status).toBe(200);
    expect(await runCount(operator, name)).toBe(0);
    expect(await bucketsOf(name)).toHaveLength(1);
  });
});

describe.concurrent('a blocked address', () => {
  it('is reported and never connected to', async () => {
    const blocked = await createProbeNamespace('addresses');
    await blocked.putSecret('probe-user', { ...(await createCanaryUser()) });
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as { port: number };
    await using strict = await startOperator({ namespaces: [blocked.name], flags: ['--allow-addresses='] });
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:7f00:1]']) {
      const name = uniqueName('address');
      await blocked.apply(name, everySecondSpec(name, `http://${host}:${port}`));
      const { status } = await blocked.until(
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

interface RestartableMinio extends AsyncDisposable {
  readonly url: string;
  readonly rootUser: string;
  stop(): Promise<void>;
  /** Starts MinIO again with the same data and port. */
  restart(): Promise<void>;
}

async function startRestartableMinio(): Promise<RestartableMinio> {
  await using started = new AsyncDisposableStack();
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-minio-')));
  const options = { dir, port: await stablePort(), rootUser: 'root-user', rootPassword: CANARY };
  let minio = started.use(await startMinio(options));
  const resources = started.move();
  return {
    url: minio.url,
    rootUser: minio.rootUser,
    stop: () => minio.stop(),
    async restart() {
      minio = resources.use(await startMinio(options));
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function hasHealthyStatus(status: Condition['status']): (probe: Probe) => boolean {
  return (probe) => conditionOf(probe.status, 'Healthy')?.status === status;
}

function hasVerdict(target: string, verdict: string): (probe: Probe) => boolean {
  return ({ status }) => targetStatusOf(status, target)?.verdict === verdict;
}

async function healthyMetric(probe: string): Promise<number[]> {
  return [...(await operator.samples('storage_probe_healthy{', `probe="${probe}"`)).values()];
}

function untilWarned(probe: string): Promise<ProbeEvent[]> {
  return until(`a Warning Event about ${probe}`, 10_000, async () => {
    const warnings = (await namespace.events(probe)).filter(({ type }) => type === 'Warning');
    return warnings.length > 0 && warnings;
  });
}

/** Number of Events, of all reasons or of one. Every occurrence in a series counts. */
function eventCount(events: readonly ProbeEvent[], reason?: string): number {
  return events
    .filter((event) => reason === undefined || event.reason === reason)
    .reduce((sum, { series }) => sum + (series?.count ?? 1), 0);
}
