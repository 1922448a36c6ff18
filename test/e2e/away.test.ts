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
  makeProbeNamespace,
  operatorPods,
  type ProbeNamespace,
  samplesOf,
  tracesOf,
} from './cluster.ts';
import { OPERATOR, STORAGE } from './releases.ts';

const PATIENCE_MS = 60_000;
const POLL_MS = 250;
const ROLLOUT_DEADLINE = '90s';

const started = new AsyncDisposableStack();
let namespace: ProbeNamespace;

beforeAll(async () => {
  namespace = await makeProbeNamespace('away');
  started.use(await installOperator({ watchNamespaces: [namespace.name] }));
  started.use(namespace);
});
afterAll(() => started.disposeAsync());

describe('a MinIO that is scaled to 0 and back', () => {
  it('makes its probe unhealthy, with one trace id everywhere, and Healthy again by itself', async () => {
    const probe = uniqueName('store-away');
    await namespace.applyProbe(probe, '1s');
    await namespace.untilHealthy(probe);

    await scale('statefulset/demo-minio', 0);
    try {
      await namespace.untilHealthy(probe, 'False');
      const { status } = await namespace.get(probe);
      const unhealthy = status?.conditions?.find(({ type }) => type === 'Healthy');
      const [, traceId = ''] = /\(trace ([0-9a-f]{32})\)/.exec(unhealthy?.message ?? '') ?? [];
      expect(unhealthy?.reason).toBe('ConnectionRefused');
      const signal = AbortSignal.timeout(PATIENCE_MS);
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

describe('a Collector that is restarted', () => {
  it.each([
    { name: 'at once', awayForRuns: 0 },
    { name: 'after a while', awayForRuns: 15 },
  ])('costs no span when it is back $name', async ({ awayForRuns }) => {
    const probe = uniqueName('collector');
    await namespace.applyProbe(probe, '1s');
    await namespace.untilHealthy(probe);
    await untilRuns(probe, 3);
    const saidBefore = (await logLines()).length;
    if (awayForRuns === 0) {
      await kubectl('rollout', 'restart', 'deployment/demo-collector', `--namespace=${STORAGE}`);
      await untilRolledOut('deployment/demo-collector');
    } else {
      await scale('deployment/demo-collector', 0);
      try {
        await untilRuns(probe, awayForRuns);
      } finally {
        await scale('deployment/demo-collector', 1);
      }
    }
    await untilRuns(probe, 3);
    const traceIds = await tracesOfLog(probe);
    expect(traceIds.length).toBeGreaterThan(6 + awayForRuns);
    const signal = AbortSignal.timeout(PATIENCE_MS);
    for (const traceId of traceIds)
      await waitForTrace(JAEGER_URL, traceId, { signal, spans: countSpans(PASSED_RUN) });
    expect((await tracesOf(probe)).length).toBeGreaterThanOrEqual(traceIds.length);

    const said = (await logLines()).slice(saidBefore).filter(({ msg }) => msg.startsWith('spans '));
    expect(said[0]?.msg).toBe('spans are not delivered');
    expect(said.at(-1)?.msg).toBe('spans are delivered again');
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

/** Waits until a probe has run so many times more. */
async function untilRuns(probe: string, more: number): Promise<void> {
  const before = (await tracesOfLog(probe)).length;
  const isEnough = async (): Promise<boolean> => (await tracesOfLog(probe)).length >= before + more;
  await until(`${more} more runs of ${probe}`, PATIENCE_MS, isEnough, POLL_MS);
}

interface LogLine {
  readonly msg: string;
  readonly probe?: string;
  readonly trace_id?: string;
}

/** What each run of a probe says that its trace is. */
async function tracesOfLog(probe: string): Promise<string[]> {
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
