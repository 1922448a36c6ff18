import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';

import { findTraces, type JaegerTrace } from '../../deploy/local/traces.ts';
import { FUNCTION_NAMES } from '../../src/api/run.ts';
import { OPENMETRICS } from '../support/exposition.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { type RunningOperator, startOperator } from './operator.ts';
import { stablePort } from './ports.ts';
import {
  conditionOf,
  everySecondSpec,
  expectCleanShutdown,
  createCanaryUser,
  createProbeNamespace,
  type ProbeNamespace,
  runCount,
  targetStatusOf,
  untilMoreRuns,
} from './probes.ts';
import { spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { bucketsOf, sharedStore, targetOf } from './store.ts';

const { jaegerUrl } = inject('servers');
const SAMPLE = new URL('../../deploy/samples/my-minio.yaml', import.meta.url);
/** Rare enough that only the first run and requested runs start during a test. */
const DAILY = { schedule: { interval: '24h' } };

let namespace: ProbeNamespace;
let operator: RunningOperator;
/** A probe that runs every second. Tests wait for its runs when they expect another probe not to run. */
let everySecondProbe: string;

beforeAll(async () => {
  namespace = await createProbeNamespace('lifecycle');
  const user = await createCanaryUser();
  for (const secret of ['probe-user', 'my-minio-probe']) await namespace.putSecret(secret, { ...user });
  operator = await startOperator({ namespaces: [namespace.name] });
  everySecondProbe = uniqueName('every-second');
  await namespace.apply(
    everySecondProbe,
    everySecondSpec(everySecondProbe, sharedStore.url, { failureThreshold: 100 }),
  );
  await namespace.untilHealthy(everySecondProbe);
});

afterAll(() => expectCleanShutdown(namespace, operator));

describe('the sample probe', () => {
  it('has a trace in Jaeger within 2 s, and the same trace ID everywhere', async () => {
    const name = uniqueName('my-minio');
    const { spec } = parse(await readFile(SAMPLE, 'utf8')) as { spec: { targets: object[] } };
    spec.targets = [{ ...spec.targets[0], name, endpoint: sharedStore.url }];
    const appliedMs = performance.now();
    await namespace.apply(name, spec);
    const trace = await until('the first trace', 10_000, () => completeTraceOf(name));
    expect(Math.round(performance.now() - appliedMs), 'ms to the first trace').toBeLessThan(2_000);
    const { children } = treeOf(spansFromJaeger(trace));
    expect(children.map(({ functionName }) => functionName)).toEqual(FUNCTION_NAMES);

    const waited = await namespace.kubectl(
      'wait',
      '--for=condition=Healthy',
      `sprobe/${name}`,
      '--timeout=10s',
    );
    expect(waited).toBe(`storageprobe.storageprobe.dev/${name} condition met\n`);
    const { traceID: traceId } = trace;
    const { status } = await namespace.get(name);
    expect(status?.lastRun).toMatchObject({ target: name, traceId, verdict: 'Passed' });
    expect(conditionOf(status, 'Healthy')).toMatchObject({
      reason: 'Passed',
      message: `${name} passed (trace ${traceId})`,
    });
    const events = await until('an Event', 10_000, async () => nonEmpty(await namespace.events(name)));
    expect(events).toMatchObject([
      { type: 'Normal', reason: 'Passed', action: 'Probe', note: `${name} passed (trace ${traceId})` },
    ]);
    expect(operator.logs().filter((line) => line['trace_id'] === traceId)).toMatchObject([
      { msg: 'run passed', target: name },
    ]);
    const { body } = await operator.get('/metrics', OPENMETRICS);
    expect(body).toMatch(
      new RegExp(`^storage_probe_runs_total\\{.*probe="${name}".*\\} 1 # \\{trace_id="${traceId}"\\}`, 'm'),
    );
  });
});

describe('a healthy probe', () => {
  it('is shown by kubectl get and kubectl describe', async () => {
    const table = await namespace.kubectl('get', 'sprobe', everySecondProbe, '-o', 'wide');
    const [head = '', row = ''] = table.split('\n');
    expect(head.split(/ {2,}/)).toEqual(
      'NAME,HEALTHY,REASON,LAST RUN,LATENCY,SCHEDULE,AGE,READY,TRACE,NEXT RUN'.split(','),
    );
    expect(row).toMatch(
      new RegExp(
        `^${everySecondProbe} +True +Passed +\\d+s +\\d[\\d.]*ms +1s +\\S+ +True +[0-9a-f]{32} +20\\d\\d-\\S+$`,
      ),
    );
    const described = await namespace.kubectl('describe', 'sprobe', everySecondProbe);
    expect(described).toMatch(/^ {4}Type: +Healthy$/m);
    expect(described).toMatch(/^ {4}Recent Runs:$/m);
    expect(described).toMatch(/Trace Id: +[0-9a-f]{32}/);
    expect(described).toMatch(
      new RegExp(`^ +Normal +Passed .*${everySecondProbe} passed \\(trace [0-9a-f]{32}\\)$`, 'm'),
    );
  });
});

describe('an edit', () => {
  it('starts a run at once, and a fix makes the probe healthy again', async () => {
    const name = uniqueName('edited');
    const specFor = (url: string): object => ({
      ...DAILY,
      failureThreshold: 1,
      targets: [targetOf(name, url)],
    });
    await namespace.apply(name, specFor(sharedStore.url));
    await namespace.untilHealthy(name);
    await namespace.apply(name, specFor(`http://127.0.0.1:${await stablePort()}`));
    const refused = await namespace.until('to be unhealthy', name, ({ status }) =>
      isUnhealthyBecause(status, 'ConnectionRefused'),
    );
    expect(refused.status?.observedGeneration).toBe(2);
    expect(conditionOf(refused.status, 'Healthy')).toMatchObject({ observedGeneration: 2 });
    await namespace.apply(name, specFor(sharedStore.url));
    const { status } = await namespace.untilHealthy(name);
    expect(await bucketsOf(name)).toEqual([]);
    const note = `${name} passed (trace ${targetStatusOf(status, name)?.lastRun?.traceId})`;
    await until('the Event series', 10_000, async () => {
      const events = await namespace.events(name);
      const passed = events.find(({ reason }) => reason === 'Passed');
      return events.length === 2 && passed?.series?.count === 2 && passed.note === note;
    });
  });

  it("of a target's name removes the old target's status, series and bucket", async () => {
    const name = uniqueName('renamed');
    const [before, after] = [`${name}-a`, `${name}-b`];
    await namespace.apply(name, everySecondSpec(before, sharedStore.url));
    await untilMoreRuns(operator, name, 2, `target="${before}"`);
    await namespace.apply(name, everySecondSpec(after, sharedStore.url));
    const { status } = await namespace.until(
      'to be renamed',
      name,
      (probe) => targetStatusOf(probe.status, after)?.verdict === 'Passed',
    );
    expect(status?.targets?.map((target) => target.name)).toEqual([after]);
    expect(status?.lastRun?.target).toBe(after);
    expect(await operator.samples(`target="${before}"`)).toEqual(new Map());
    await untilMoreRuns(operator, name, 2, `target="${after}"`);
    expect(await operator.samples(`target="${before}"`)).toEqual(new Map());
    await untilNoBuckets(name);
  });
});

describe('suspend', () => {
  it('prevents runs until the probe is resumed', async () => {
    const name = uniqueName('suspended');
    await namespace.apply(name, everySecondSpec(name, sharedStore.url));
    await namespace.untilHealthy(name);
    await namespace.apply(name, everySecondSpec(name, sharedStore.url, { suspend: true }));
    const { status } = await namespace.until(
      'to be suspended',
      name,
      (probe) => conditionOf(probe.status, 'Ready')?.reason === 'Suspended',
    );
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
    expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'Suspended' });
    expect(status).not.toHaveProperty('nextRunTime');
    const runs = await runCount(operator, name);
    await untilMoreRuns(operator, everySecondProbe, 3);
    expect(await runCount(operator, name)).toBe(runs);
    expect(await operator.samples('storage_probe_healthy{', name)).toEqual(new Map());
    expect(await operator.samples('storage_probe_schedule_interval_seconds{', name)).toEqual(new Map());
    expect(await operator.samples('storage_probe_next_run_timestamp_seconds{', name)).toEqual(new Map());

    await namespace.apply(name, everySecondSpec(name, sharedStore.url));
    await namespace.untilHealthy(name);
    await untilMoreRuns(operator, name, 2);
    expect(await eventReasons(name)).toEqual(['Passed', 'Scheduled', 'Suspended']);
  });

  it('aborts the run in progress, which then cleans up', async () => {
    const name = uniqueName('aborted');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { GetObject: () => undefined } });
    await namespace.apply(name, { ...DAILY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.untilSeen('GetObject');
    expect(await bucketsOf(name)).toHaveLength(1);
    await namespace.apply(name, { ...DAILY, suspend: true, targets: [targetOf(name, proxy.url)] });
    await untilNoBuckets(name);
    const [run, ...more] = await until('the run to finish', 10_000, () => nonEmpty(loggedRuns(name)));
    expect(run).toMatchObject({ reason: 'Cancelled' });
    expect(more).toEqual([]);
    expect(await runCount(operator, name)).toBe(0);
  });

  it('still allows a requested run', async () => {
    const name = uniqueName('requested');
    const spec = { ...DAILY, suspend: true, targets: [targetOf(name, sharedStore.url)] };
    await namespace.apply(name, spec);
    await namespace.until('to be suspended', name, ({ status }) => status !== undefined);
    await untilMoreRuns(operator, everySecondProbe, 2);
    expect(await runCount(operator, name)).toBe(0);
    await namespace.requestRun(name, 'first');
    const { status } = await namespace.until(
      'to have run',
      name,
      (probe) => targetStatusOf(probe.status, name)?.verdict === 'Passed',
    );
    expect(status?.lastRunRequest).toBe('first');
    expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'Suspended' });
    expect(await runCount(operator, name)).toBe(1);
  });
});

describe('a requested run', () => {
  it('starts at once, once for each new value', async () => {
    const name = uniqueName('requested');
    await namespace.apply(name, { ...DAILY, targets: [targetOf(name, sharedStore.url)] });
    await namespace.untilHealthy(name);
    expect(await runCount(operator, name)).toBe(1);
    await namespace.requestRun(name, '1');
    await until('the run', 5_000, async () => (await runCount(operator, name)) === 2);
    await namespace.until('to report request 1', name, ({ status }) => status?.lastRunRequest === '1');

    await namespace.requestRun(name, '1');
    await namespace.kubectl('annotate', 'sprobe', name, 'something=else');
    await untilMoreRuns(operator, everySecondProbe, 2);
    expect(await runCount(operator, name)).toBe(2);

    await namespace.requestRun(name, '2');
    await until('the second run', 5_000, async () => (await runCount(operator, name)) === 3);
    await namespace.until('to report request 2', name, ({ status }) => status?.lastRunRequest === '2');
  });
});

describe('a deletion', () => {
  it('stops the runs and removes the series and the bucket', async () => {
    const name = uniqueName('deleted');
    await namespace.apply(name, everySecondSpec(name, sharedStore.url));
    await untilMoreRuns(operator, name, 2);
    await namespace.delete(name);
    await untilNoSeries(name);
    await untilNoBuckets(name);
    // Long enough for a run in progress to be logged.
    await untilMoreRuns(operator, everySecondProbe, 1);
    const runs = loggedRuns(name).length;
    await untilMoreRuns(operator, everySecondProbe, 2);
    expect(loggedRuns(name)).toHaveLength(runs);
    expect(await operator.samples(name)).toEqual(new Map());
  });

  it('during a run aborts it and cleans up', async () => {
    const name = uniqueName('cut-short');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { GetObject: () => undefined } });
    await namespace.apply(name, { ...DAILY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.untilSeen('GetObject');
    await namespace.delete(name);
    await untilNoSeries(name);
    await untilNoBuckets(name);
    const runs = await until('the run to finish', 10_000, () => nonEmpty(loggedRuns(name)));
    expect(runs).toMatchObject([{ reason: 'Cancelled' }]);
  });

  it('passes nothing on to a new probe with the same name', async () => {
    const name = uniqueName('recreated');
    const refusingUrl = `http://127.0.0.1:${await stablePort()}`;
    const original = await namespace.apply(name, everySecondSpec(name, refusingUrl, { failureThreshold: 1 }));
    await namespace.until('to be unhealthy', name, ({ status }) =>
      isUnhealthyBecause(status, 'ConnectionRefused'),
    );
    await untilMoreRuns(operator, name, 3);
    await namespace.delete(name);
    const recreated = await namespace.apply(name, { ...DAILY, targets: [targetOf(name, sharedStore.url)] });
    expect(recreated.metadata.uid).not.toBe(original.metadata.uid);

    const { status } = await namespace.untilHealthy(name);
    expect(targetStatusOf(status, name)).toMatchObject({ consecutiveFailures: 0 });
    expect(targetStatusOf(status, name)?.recentRuns).toHaveLength(1);
    expect([...(await operator.samples('storage_probe_runs_total{', name)).values()]).toEqual([1]);
    await untilMoreRuns(operator, everySecondProbe, 2);
    expect([...(await operator.samples('storage_probe_runs_total{', name)).values()]).toEqual([1]);
    const events = (await namespace.events(name)).filter(
      ({ regarding }) => regarding.uid === recreated.metadata.uid,
    );
    expect(events).toMatchObject([{ reason: 'Passed' }]);
  });
});

it('updates status only at the heartbeat while the state stays the same', async () => {
  const heartbeatNamespace = await createProbeNamespace('heartbeat');
  await heartbeatNamespace.putSecret('probe-user', { ...(await createCanaryUser()) });
  await using heartbeatOperator = await startOperator({
    namespaces: [heartbeatNamespace.name],
    flags: ['--status-heartbeat=4s'],
  });
  const name = uniqueName('heartbeat');
  await heartbeatNamespace.apply(name, everySecondSpec(name, sharedStore.url));
  const { metadata } = await heartbeatNamespace.untilHealthy(name);
  const versions = new Set<string>();
  const startMs = performance.now();
  const runs = await runCount(heartbeatOperator, name);
  await until('nine more runs', 20_000, async () => {
    versions.add((await heartbeatNamespace.get(name)).metadata.resourceVersion);
    return (await runCount(heartbeatOperator, name)) >= runs + 9;
  });
  versions.delete(metadata.resourceVersion);
  expect(versions.size).toBeGreaterThan(1);
  expect(versions.size).toBeLessThanOrEqual(Math.ceil((performance.now() - startMs) / 4_000));
});

async function completeTraceOf(service: string): Promise<JaegerTrace | undefined> {
  const traces = await findTraces(jaegerUrl, service, { signal: AbortSignal.timeout(5_000) });
  return traces.find(({ spans }) => {
    const steps = spans.filter(({ tags }) => tags.some(({ key }) => key === 'function.name'));
    return steps.length === FUNCTION_NAMES.length && spans.some(({ references }) => references.length === 0);
  });
}

function isUnhealthyBecause(status: Parameters<typeof conditionOf>[0], reason: string): boolean {
  const healthy = conditionOf(status, 'Healthy');
  return healthy?.status === 'False' && healthy.reason === reason;
}

function nonEmpty<T>(found: T[]): T[] | undefined {
  return found.length === 0 ? undefined : found;
}

function loggedRuns(probe: string): object[] {
  return operator
    .logs()
    .filter((line) => line['probe'] === `${namespace.name}/${probe}` && 'verdict' in line);
}

async function eventReasons(probe: string): Promise<string[]> {
  return [...new Set((await namespace.events(probe)).map(({ reason }) => reason))].toSorted();
}

async function untilNoSeries(probe: string): Promise<void> {
  await until(`no series of ${probe}`, 10_000, async () => (await operator.samples(probe)).size === 0);
}

async function untilNoBuckets(probe: string): Promise<void> {
  await until(`no bucket of ${probe}`, 10_000, async () => (await bucketsOf(probe)).length === 0);
}
