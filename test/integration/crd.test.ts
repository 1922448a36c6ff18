import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';

import { getBinary } from '../../deploy/local/binary.ts';
import { runCommand } from '../../deploy/local/command.ts';
import { requestKube, requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests, createNamespace } from '../../deploy/local/kube-apply.ts';
import { crdYaml } from '../../src/api/crd.ts';
import {
  MAX_RECENT_RUNS,
  type ProbeStatus,
  readStatus,
  type RunSummary,
} from '../../src/api/probe-status.ts';
import { API_VERSION, GROUP, KIND, MAX_TARGETS, PLURAL } from '../../src/api/storage-probe.ts';
import { uniqueName } from '../support/unique-name.ts';

const { kube } = inject('servers');
const namespace = uniqueName('crd');
const PROBES = `/apis/${API_VERSION}/namespaces/${namespace}/${PLURAL}`;
const APPLY = 'application/apply-patch+yaml';

interface Probe {
  readonly metadata: { readonly generation: number };
  readonly spec: unknown;
  readonly status?: unknown;
}

const RUN: RunSummary = {
  id: 'run-1',
  traceId: '0af7651916cd43dd8448eb211c80319c',
  startTime: '2026-01-02T03:04:05.678Z',
  duration: '23.4ms',
  verdict: 'Failed',
  reason: 'ConnectionRefused',
  failedStep: 'CHECK_BUCKET',
  message: 'é'.repeat(512),
};

const CONDITION = {
  observedGeneration: 1,
  lastTransitionTime: '2026-01-02T03:04:05Z',
  message: 'a: connection refused',
};

const STATUS: ProbeStatus = {
  observedGeneration: 1,
  conditions: [
    { type: 'Ready', status: 'True', reason: 'Scheduled', ...CONDITION },
    { type: 'Healthy', status: 'False', reason: 'ConnectionRefused', ...CONDITION },
  ],
  schedule: '30s',
  nextRunTime: '2026-01-02T03:04:35Z',
  lastRun: { ...RUN, target: 'a0' },
  lastRunRequest: 'now',
  targets: Array.from({ length: MAX_TARGETS }, (_, index) => ({
    name: `a${index}`,
    verdict: 'Failed',
    reason: 'ConnectionRefused',
    consecutiveFailures: 3,
    lastSuccessTime: '2026-01-02T03:04:05+01:00',
    lastRun: RUN,
    recentRuns: Array.from({ length: MAX_RECENT_RUNS }, () => RUN),
  })),
};

beforeAll(async () => {
  await applyManifests(kube, crdYaml());
  await createNamespace(kube, namespace);
});

function probeOf(name: string, spec: object = {}): object {
  const target = { name: 'a0', endpoint: 'http://a:9000', credentialsSecretRef: { name: 'a-keys' } };
  return { apiVersion: API_VERSION, kind: KIND, metadata: { name }, spec: { targets: [target], ...spec } };
}

async function create(body: object): Promise<Probe> {
  return requestKubeBody<Probe>(kube, { method: 'POST', path: `${PROBES}?fieldValidation=Strict`, body });
}

async function applyStatus(name: string, status: ProbeStatus, fieldManager = 'a'): Promise<Probe> {
  return requestKubeBody<Probe>(kube, {
    method: 'PATCH',
    path: `${PROBES}/${name}/status?fieldManager=${fieldManager}&fieldValidation=Strict`,
    contentType: APPLY,
    body: { apiVersion: API_VERSION, kind: KIND, metadata: { name }, status },
  });
}

it('is established, with a structural schema', async () => {
  const { status } = await requestKubeBody<{ status: { conditions: { type: string; status: string }[] } }>(
    kube,
    {
      path: `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${PLURAL}.${GROUP}`,
    },
  );
  const conditions = status.conditions.map(({ type, status: value }) => `${type}=${value}`);
  expect(conditions.toSorted()).toStrictEqual(['Established=True', 'NamesAccepted=True']);
});

describe('the status', () => {
  it('is ignored when a probe is created', async () => {
    const name = uniqueName('probe');
    expect(await create({ ...probeOf(name), status: STATUS })).not.toHaveProperty('status');
  });

  it('accepts its maximum size, is read back unchanged, and does not change the generation', async () => {
    const name = uniqueName('probe');
    await create(probeOf(name));
    const { metadata, status } = await applyStatus(name, STATUS);
    expect(metadata.generation).toBe(1);
    expect(readStatus(status)).toStrictEqual(STATUS);
  });

  it('lets field managers own single targets and conditions', async () => {
    const name = uniqueName('probe');
    const [ready, healthy] = STATUS.conditions ?? [];
    if (ready === undefined || healthy === undefined) throw new Error('expected two conditions');
    const target = { consecutiveFailures: 0 };
    await create(probeOf(name));
    await applyStatus(name, { conditions: [ready], targets: [{ name: 'a', ...target }] }, 'one');
    const { status } = await applyStatus(
      name,
      { conditions: [healthy], targets: [{ name: 'b', ...target }] },
      'other',
    );
    expect(readStatus(status)).toMatchObject({
      conditions: [{ type: 'Ready' }, { type: 'Healthy' }],
      targets: [{ name: 'a' }, { name: 'b' }],
    });
  });
});

it('prints the state of the probe in columns', async () => {
  const name = uniqueName('probe');
  await create(probeOf(name));
  await applyStatus(name, STATUS);
  const { columnDefinitions, rows } = await requestKubeBody<{
    columnDefinitions: { name: string; priority: number }[];
    rows: { cells: unknown[] }[];
  }>(kube, { path: `${PROBES}/${name}`, accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' });

  const age = expect.stringMatching(/^\d+[dhms]/);
  const row = columnDefinitions.map(({ name: column, priority }, index) => [
    priority === 0 ? column : `${column} (wide)`,
    rows[0]?.cells[index],
  ]);
  expect(row).toStrictEqual([
    ['Name', name],
    ['Healthy', 'False'],
    ['Reason', 'ConnectionRefused'],
    ['Last Run', age],
    ['Latency', '23.4ms'],
    ['Schedule', '30s'],
    ['Age', age],
    ['Ready (wide)', 'True'],
    ['Trace (wide)', RUN.traceId],
    ['Next Run (wide)', '2026-01-02T03:04:35Z'],
  ]);
});

describe('a rejection', () => {
  it.each([
    {
      spec: { schedule: { interval: '30' } },
      message:
        'spec.schedule.interval: Invalid value: "string": must be a duration from 1s to 24h in h, m, s or ms, for example 30s or 1m30s',
    },
    {
      spec: { schedule: { interval: '30s', timeZone: 'UTC' } },
      message:
        'spec.schedule.timeZone: Invalid value: "object": cannot be used with interval; accepted: timeZone only together with cron',
    },
    {
      spec: { timeout: '2m' },
      message:
        'spec.timeout: Invalid value: "object": is not shorter than schedule.interval; accepted: a timeout shorter than the interval (default 1m), so that a run finishes before the next one starts',
    },
    {
      spec: { bucket: { mode: 'Existing' } },
      message:
        'spec.bucket.name: Invalid value: "object": is required when mode is Existing; accepted: the name of an existing bucket',
    },
  ])('of $spec is one line that states what is accepted', async ({ spec, message }) => {
    const { status, body } = await requestKube(kube, {
      method: 'POST',
      path: PROBES,
      body: probeOf('rejected', spec),
    });
    expect(status).toBe(422);
    expect(body).toMatchObject({ message: `${KIND}.${GROUP} "rejected" is invalid: ${message}` });
  });
});

it('describes its fields in kubectl explain', { timeout: 300_000 }, async () => {
  const kubectl = await getBinary('kubectl', { progress: console.error });
  await using cache = await mkdtempDisposable(join(tmpdir(), 'storage-probe-kubectl-'));
  async function explain(field: string): Promise<string> {
    const explained = await runCommand(kubectl, ['explain', field, '--cache-dir', cache.path], {
      env: { KUBECONFIG: kube.kubeconfigFile },
    });
    return explained.replaceAll(/\s+/g, ' ');
  }

  // The API server publishes the schema shortly after it starts to serve the kind.
  await expect
    .poll(() => explain('sprobe.spec.schedule').catch(() => ''), { timeout: 30_000 })
    .toContain('Schedule of the runs: an interval or a cron expression.');
  expect(await explain('sprobe.spec.schedule.interval')).toContain(
    'Time from the start of one run to the start of the next. Accepted: a duration from 1s to 24h',
  );
  expect(await explain('sprobe.spec.failureThreshold')).toContain(
    'Accepted: a whole number from 1 to 100. Default: 2.',
  );
  expect(await explain('sprobe.status.targets.lastRun')).toContain('Trace ID of the run.');
});
