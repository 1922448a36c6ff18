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
import { portToComeBackTo } from './ports.ts';
import {
  conditionOf,
  everySecond,
  expectGoodEnd,
  makeCanaryUser,
  makeProbeNamespace,
  type ProbeNamespace,
  runsOf,
  targetStatusOf,
  untilRuns,
} from './probes.ts';
import { spansOfJaeger, treeOf } from '../support/span-tree.ts';
import { bucketsOf, sharedStore, targetOf } from './store.ts';

const { jaegerUrl } = inject('servers');
const SAMPLE = new URL('../../deploy/samples/my-minio.yaml', import.meta.url);
/** No run but those that a test asks for. */
const RARELY = { schedule: { interval: '24h' } };

let namespace: ProbeNamespace;
let operator: RunningOperator;
/** A probe whose runs show that time goes by. */
let clock: string;

beforeAll(async () => {
  namespace = await makeProbeNamespace('lifecycle');
  const user = await makeCanaryUser();
  for (const secret of ['probe-user', 'my-minio-probe']) await namespace.putSecret(secret, { ...user });
  operator = await startOperator({ namespaces: [namespace.name] });
  clock = uniqueName('clock');
  await namespace.apply(clock, everySecond(clock, sharedStore.url, { failureThreshold: 100 }));
  await namespace.untilHealthy(clock);
});

afterAll(() => expectGoodEnd(namespace, operator));

describe('the sample', () => {
  it('stands in Jaeger within 2 s, and the same trace in all that is told of it', async () => {
    const name = uniqueName('my-minio');
    const { spec } = parse(await readFile(SAMPLE, 'utf8')) as { spec: { targets: object[] } };
    spec.targets = [{ ...spec.targets[0], name, endpoint: sharedStore.url }];
    const appliedMs = performance.now();
    await namespace.apply(name, spec);
    const trace = await until('the first trace', 10_000, () => wholeTraceOf(name));
    expect(Math.round(performance.now() - appliedMs), 'ms to the first trace').toBeLessThan(2_000);
    const { children } = treeOf(spansOfJaeger(trace));
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
  it('is told of by kubectl', async () => {
    const table = await namespace.kubectl('get', 'sprobe', clock, '-o', 'wide');
    const [head = '', row = ''] = table.split('\n');
    expect(head.split(/ {2,}/)).toEqual(
      'NAME,HEALTHY,REASON,LAST RUN,LATENCY,SCHEDULE,AGE,READY,TRACE,NEXT RUN'.split(','),
    );
    expect(row).toMatch(
      new RegExp(
        `^${clock} +True +Passed +\\d+s +\\d[\\d.]*ms +1s +\\S+ +True +[0-9a-f]{32} +20\\d\\d-\\S+$`,
      ),
    );
    const described = await namespace.kubectl('describe', 'sprobe', clock);
    expect(described).toMatch(/^ {4}Type: +Healthy$/m);
    expect(described).toMatch(/^ {4}Recent Runs:$/m);
    expect(described).toMatch(/Trace Id: +[0-9a-f]{32}/);
    expect(described).toMatch(
      new RegExp(`^ +Normal +Passed .*${clock} passed \\(trace [0-9a-f]{32}\\)$`, 'm'),
    );
  });
});

describe('an edit', () => {
  it('is probed at once, and what it mends is well again', async () => {
    const name = uniqueName('edited');
    const specFor = (url: string): object => ({
      ...RARELY,
      failureThreshold: 1,
      targets: [targetOf(name, url)],
    });
    await namespace.apply(name, specFor(sharedStore.url));
    await namespace.untilHealthy(name);
    await namespace.apply(name, specFor(`http://127.0.0.1:${await portToComeBackTo()}`));
    const refused = await namespace.until('to be refused', name, ({ status }) =>
      isFalse(status, 'ConnectionRefused'),
    );
    expect(refused.status?.observedGeneration).toBe(2);
    expect(conditionOf(refused.status, 'Healthy')).toMatchObject({ observedGeneration: 2 });
    await namespace.apply(name, specFor(sharedStore.url));
    const { status } = await namespace.untilHealthy(name);
    expect(await bucketsOf(name)).toEqual([]);
    const told = `${name} passed (trace ${targetStatusOf(status, name)?.lastRun?.traceId})`;
    await until('the Events', 10_000, async () => {
      const events = await namespace.events(name);
      const passed = events.find(({ reason }) => reason === 'Passed');
      return events.length === 2 && passed?.series?.count === 2 && passed.note === told;
    });
  });

  it('of the name of a target leaves nothing of the old one', async () => {
    const name = uniqueName('renamed');
    const [before, after] = [`${name}-a`, `${name}-b`];
    await namespace.apply(name, everySecond(before, sharedStore.url));
    await untilRuns(operator, name, 2, `target="${before}"`);
    await namespace.apply(name, everySecond(after, sharedStore.url));
    const { status } = await namespace.until(
      'to be renamed',
      name,
      (probe) => targetStatusOf(probe.status, after)?.verdict === 'Passed',
    );
    expect(status?.targets?.map((target) => target.name)).toEqual([after]);
    expect(status?.lastRun?.target).toBe(after);
    expect(await operator.samples(`target="${before}"`)).toEqual(new Map());
    await untilRuns(operator, name, 2, `target="${after}"`);
    expect(await operator.samples(`target="${before}"`)).toEqual(new Map());
    await untilNoBuckets(name);
  });
});

describe('suspend', () => {
  it('lets no run start until it ends', async () => {
    const name = uniqueName('suspended');
    await namespace.apply(name, everySecond(name, sharedStore.url));
    await namespace.untilHealthy(name);
    await namespace.apply(name, everySecond(name, sharedStore.url, { suspend: true }));
    const { status } = await namespace.until(
      'to be suspended',
      name,
      (probe) => conditionOf(probe.status, 'Ready')?.reason === 'Suspended',
    );
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
    expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'Suspended' });
    expect(status).not.toHaveProperty('nextRunTime');
    const runs = await runsOf(operator, name);
    await untilRuns(operator, clock, 3);
    expect(await runsOf(operator, name)).toBe(runs);
    expect(await operator.samples('storage_probe_healthy{', name)).toEqual(new Map());
    expect(await operator.samples('storage_probe_schedule_interval_seconds{', name)).toEqual(new Map());
    expect(await operator.samples('storage_probe_next_run_timestamp_seconds{', name)).toEqual(new Map());

    await namespace.apply(name, everySecond(name, sharedStore.url));
    await namespace.untilHealthy(name);
    await untilRuns(operator, name, 2);
    expect(await reasonsTold(name)).toEqual(['Passed', 'Scheduled', 'Suspended']);
  });

  it('breaks off the run under way, which then cleans up', async () => {
    const name = uniqueName('broken-off');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { GetObject: () => undefined } });
    await namespace.apply(name, { ...RARELY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.seen('GetObject');
    expect(await bucketsOf(name)).toHaveLength(1);
    await namespace.apply(name, { ...RARELY, suspend: true, targets: [targetOf(name, proxy.url)] });
    await untilNoBuckets(name);
    const [run, ...more] = await until('the run to end', 10_000, () => nonEmpty(runsLogged(name)));
    expect(run).toMatchObject({ reason: 'Cancelled' });
    expect(more).toEqual([]);
    expect(await runsOf(operator, name)).toBe(0);
  });

  it('still lets a run start that is asked for', async () => {
    const name = uniqueName('asked-for');
    const spec = { ...RARELY, suspend: true, targets: [targetOf(name, sharedStore.url)] };
    await namespace.apply(name, spec);
    await namespace.until('to be suspended', name, ({ status }) => status !== undefined);
    await untilRuns(operator, clock, 2);
    expect(await runsOf(operator, name)).toBe(0);
    await namespace.requestRun(name, 'first');
    const { status } = await namespace.until(
      'to have run',
      name,
      (probe) => targetStatusOf(probe.status, name)?.verdict === 'Passed',
    );
    expect(status?.lastRunRequest).toBe('first');
    expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'Suspended' });
    expect(await runsOf(operator, name)).toBe(1);
  });
});

describe('a run that is asked for', () => {
  it('starts at once, and once for each new value', async () => {
    const name = uniqueName('requested');
    await namespace.apply(name, { ...RARELY, targets: [targetOf(name, sharedStore.url)] });
    await namespace.untilHealthy(name);
    expect(await runsOf(operator, name)).toBe(1);
    await namespace.requestRun(name, '1');
    await until('the run', 5_000, async () => (await runsOf(operator, name)) === 2);
    await namespace.until('to tell of it', name, ({ status }) => status?.lastRunRequest === '1');

    await namespace.requestRun(name, '1');
    await namespace.kubectl('annotate', 'sprobe', name, 'something=else');
    await untilRuns(operator, clock, 2);
    expect(await runsOf(operator, name)).toBe(2);

    await namespace.requestRun(name, '2');
    await until('the second run', 5_000, async () => (await runsOf(operator, name)) === 3);
    await namespace.until('to tell of it', name, ({ status }) => status?.lastRunRequest === '2');
  });
});

describe('a deletion', () => {
  it('ends the runs, and leaves no series and no bucket', async () => {
    const name = uniqueName('deleted');
    await namespace.apply(name, everySecond(name, sharedStore.url));
    await untilRuns(operator, name, 2);
    await namespace.delete(name);
    await untilForgotten(name);
    await untilNoBuckets(name);
    // By then a run that was under way has told of its end.
    await untilRuns(operator, clock, 1);
    const runs = runsLogged(name).length;
    await untilRuns(operator, clock, 2);
    expect(runsLogged(name)).toHaveLength(runs);
    expect(await operator.samples(name)).toEqual(new Map());
  });

  it('in the middle of a run breaks it off and cleans up', async () => {
    const name = uniqueName('cut-short');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { GetObject: () => undefined } });
    await namespace.apply(name, { ...RARELY, timeout: '60s', targets: [targetOf(name, proxy.url)] });
    await proxy.seen('GetObject');
    await namespace.delete(name);
    await untilForgotten(name);
    await untilNoBuckets(name);
    const runs = await until('the run to end', 10_000, () => nonEmpty(runsLogged(name)));
    expect(runs).toMatchObject([{ reason: 'Cancelled' }]);
  });

  it('whose place a namesake takes at once passes nothing on to it', async () => {
    const name = uniqueName('namesake');
    const dead = `http://127.0.0.1:${await portToComeBackTo()}`;
    const former = await namespace.apply(name, everySecond(name, dead, { failureThreshold: 1 }));
    await namespace.until('to be refused', name, ({ status }) => isFalse(status, 'ConnectionRefused'));
    await untilRuns(operator, name, 3);
    await namespace.delete(name);
    const latter = await namespace.apply(name, { ...RARELY, targets: [targetOf(name, sharedStore.url)] });
    expect(latter.metadata.uid).not.toBe(former.metadata.uid);

    const { status } = await namespace.untilHealthy(name);
    expect(targetStatusOf(status, name)).toMatchObject({ consecutiveFailures: 0 });
    expect(targetStatusOf(status, name)?.recentRuns).toHaveLength(1);
    expect([...(await operator.samples('storage_probe_runs_total{', name)).values()]).toEqual([1]);
    await untilRuns(operator, clock, 2);
    expect([...(await operator.samples('storage_probe_runs_total{', name)).values()]).toEqual([1]);
    const told = (await namespace.events(name)).filter(
      ({ regarding }) => regarding.uid === latter.metadata.uid,
    );
    expect(told).toMatchObject([{ reason: 'Passed' }]);
  });
});

it('a status in which only numbers move on waits for the heartbeat', async () => {
  const own = await makeProbeNamespace('heartbeat');
  await own.putSecret('probe-user', { ...(await makeCanaryUser()) });
  await using other = await startOperator({ namespaces: [own.name], flags: ['--status-heartbeat=4s'] });
  const name = uniqueName('heartbeat');
  await own.apply(name, everySecond(name, sharedStore.url));
  const { metadata } = await own.untilHealthy(name);
  const versions = new Set<string>();
  const startMs = performance.now();
  const runs = await runsOf(other, name);
  await until('nine more runs', 20_000, async () => {
    versions.add((await own.get(name)).metadata.resourceVersion);
    return (await runsOf(other, name)) >= runs + 9;
  });
  versions.delete(metadata.resourceVersion);
  expect(versions.size).toBeGreaterThan(1);
  expect(versions.size).toBeLessThanOrEqual(Math.ceil((performance.now() - startMs) / 4_000));
});

async function wholeTraceOf(service: string): Promise<JaegerTrace | undefined> {
  const traces = await findTraces(jaegerUrl, service, { signal: AbortSignal.timeout(5_000) });
  return traces.find(({ spans }) => {
    const steps = spans.filter(({ tags }) => tags.some(({ key }) => key === 'function.name'));
    return steps.length === FUNCTION_NAMES.length && spans.some(({ references }) => references.length === 0);
  });
}

function isFalse(status: Parameters<typeof conditionOf>[0], reason: string): boolean {
  const healthy = conditionOf(status, 'Healthy');
  return healthy?.status === 'False' && healthy.reason === reason;
}

function nonEmpty<T>(found: T[]): T[] | undefined {
  return found.length === 0 ? undefined : found;
}

function runsLogged(probe: string): object[] {
  return operator
    .logs()
    .filter((line) => line['probe'] === `${namespace.name}/${probe}` && 'verdict' in line);
}

async function reasonsTold(probe: string): Promise<string[]> {
  return [...new Set((await namespace.events(probe)).map(({ reason }) => reason))].toSorted();
}

async function untilForgotten(probe: string): Promise<void> {
  await until(`no series of ${probe}`, 10_000, async () => (await operator.samples(probe)).size === 0);
}

async function untilNoBuckets(probe: string): Promise<void> {
  await until(`no bucket of ${probe}`, 10_000, async () => (await bucketsOf(probe)).length === 0);
}
