import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { countSpans, PASSED_RUN } from '../support/span-tree.ts';
import { uniqueName } from '../support/unique-name.ts';
import { until } from '../support/until.ts';
import {
  installOperator,
  JAEGER_URL,
  kubectl,
  list,
  createProbeNamespace,
  operatorPods,
  type ProbeNamespace,
  samplesOf,
  tracesOf,
} from './cluster.ts';
import { OPERATOR, STORAGE } from './releases.ts';

const TIMEOUT_MS = 60_000;
const POLL_MS = 250;
const ROLLOUT_DEADLINE = '90s';

const started = new AsyncDisposableStack();
let namespace: ProbeNamespace;

beforeAll(async () => {
  namespace = await createProbeNamespace('outages');
  started.use(await installOperator({ watchNamespaces: [namespace.name] }));
  started.use(namespace);
});
afterAll(() => started.disposeAsync());

describe('MinIO scaled to 0 and back', () => {
  it('turns Healthy to False with the same trace ID everywhere, then back to True', async () => {
    const probe = uniqueName('store-outage');
    await namespace.applyProbe(probe, '1s');
    await namespace.untilHealthy(probe);

    await scale('statefulset/demo-minio', 0);
    try {
      await namespace.untilHealthy(probe, 'False');
      const { status } = await namespace.get(probe);
      const unhealthy = status?.conditions?.find(({ type }) => type === 'Healthy');
      const [, traceId = ''] = /\(trace ([0-9a-f]{32})\)/.exec(unhealthy?.message ?? '') ?? [];
      expect(unhealthy?.reason).toBe('ConnectionRefused');
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const trace = await waitForTrace(JAEGER_URL, traceId, { signal, spans: 3 });
      const tags = trace.spans.flatMap((span) => span.tags);
      expect(tags).toContainEqual(
        expect.objectContaining({ key: 'storageprobe.reason', value: unhealthy?.reason }),
      );
      expect(await eventsOf(probe)).toContainEqual(
        expect.objectContaining({ type: 'Warning', note: expect.stringContaining(traceId) }),
      );
      expect(await logLines()).toContainEqual(
        expect.objectContaining({ trace_id: traceId, reason: unhealthy?.reason }),
      );
      const [pod = ''] = await operatorPods();
      const healthy = await samplesOf(pod, 'storage_probe_healthy{', `probe="${probe}"`);
      expect([...healthy.values()]).toEqual([0]);
    } finally {
      await scale('statefulset/demo-minio', 1);
    }
    await namespace.untilHealthy(probe);
  });
});

describe('a Collector restart', () => {
  it.each([
    { name: 'a rolling restart', runsDuringOutage: 0 },
    { name: 'an outage that lasts for 15 runs', runsDuringOutage: 15 },
  ])('loses no span in $name', async ({ runsDuringOutage }) => {
    const probe = uniqueName('collector');
    await namespace.applyProbe(probe, '1s');
    await namespace.untilHealthy(probe);
    await untilRuns(probe, 3);
    const linesBefore = (await logLines()).length;
    if (runsDuringOutage === 0) {
      await kubectl('rollout', 'restart', 'deployment/demo-collector', `--namespace=${STORAGE}`);
      await untilRolledOut('deployment/demo-collector');
    } else {
      await scale('deployment/demo-collector', 0);
      try {
        await untilRuns(probe, runsDuringOutage);
      } finally {
        await scale('deployment/demo-collector', 1);
      }
    }
    await untilRuns(probe, 3);
    const traceIds = await loggedTraceIds(probe);
    expect(traceIds.length).toBeGreaterThan(6 + runsDuringOutage);
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    for (const traceId of traceIds)
      await waitForTrace(JAEGER_URL, traceId, { signal, spans: countSpans(PASSED_RUN) });
    expect((await tracesOf(probe)).length).toBeGreaterThanOrEqual(traceIds.length);

    const deliveryLines = (await logLines())
      .slice(linesBefore)
      .filter(({ msg }) => msg.startsWith('span delivery '));
    expect(deliveryLines[0]?.msg).toBe('span delivery failed');
    expect(deliveryLines.at(-1)?.msg).toBe('span delivery recovered');
    const [pod = ''] = await operatorPods();
    const dropped = await samplesOf(pod, 'storage_probe_spans_dropped_total');
    expect([...dropped.values()]).toEqual([0]);
  });
});

async function scale(workload: string, replicas: number): Promise<void> {
  await kubectl('scale', workload, `--replicas=${replicas}`, `--namespace=${STORAGE}`);
  await untilRolledOut(workload);
}

async function untilRolledOut(workload: string): Promise<void> {
  await kubectl('rollout', 'status', workload, `--namespace=${STORAGE}`, `--timeout=${ROLLOUT_DEADLINE}`);
}

/** Waits until a probe has passed `count` more runs. */
async function untilRuns(probe: string, count: number): Promise<void> {
  const before = (await loggedTraceIds(probe)).length;
  const hasRun = async (): Promise<boolean> => (await loggedTraceIds(probe)).length >= before + count;
  await until(`${count} more runs of ${probe}`, TIMEOUT_MS, hasRun, POLL_MS);
}

interface LogLine {
  readonly msg: string;
  readonly probe?: string;
  readonly trace_id?: string;
}

/** Trace IDs of a probe's passed runs, from the operator's log. */
async function loggedTraceIds(probe: string): Promise<string[]> {
  const lines = await logLines();
  return lines
    .filter((line) => line.msg === 'run passed' && line.probe === `${namespace.name}/${probe}`)
    .map(({ trace_id: traceId = '' }) => traceId);
}

async function logLines(): Promise<LogLine[]> {
  const text = await kubectl('logs', `deployment/${OPERATOR}`, `--namespace=${OPERATOR}`);
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);
}

interface ProbeEvent {
  readonly type: string;
  readonly note: string;
  readonly regarding: { readonly name: string };
}

async function eventsOf(probe: string): Promise<ProbeEvent[]> {
  const events = await list<ProbeEvent>('events.events.k8s.io', `--namespace=${namespace.name}`);
  return events.filter(({ regarding }) => regarding.name === probe);
}
