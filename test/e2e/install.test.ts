import { afterAll, beforeAll, expect, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { PASSED_RUN, spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { until } from '../support/until.ts';
import {
  get,
  helm,
  installOperator,
  JAEGER_URL,
  kubectl,
  list,
  execOnNode,
  operatorPods,
  type Pod,
  type Probe,
  runTimes,
  tracesOf,
  uninstallOperator,
} from './cluster.ts';
import { DEMO, OPERATOR, STORAGE } from './releases.ts';

const ARRIVAL_MS = 20_000;
const POLL_MS = 250;
const PROBES = ['demo-my-minio', 'demo-archive'];
const STEPS = PASSED_RUN.children.map(({ name }) => name);

interface Secret {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly data: Readonly<Record<string, string>>;
}

/** The operator with default values except for the OTLP endpoint, and the demo's probes. */
const started = new AsyncDisposableStack();
let initialPasswords: readonly string[];

beforeAll(async () => {
  started.use(await installOperator());
  initialPasswords = await demoPasswords();
  await upgradeDemo({ probes: true });
  started.defer(() => upgradeDemo({ probes: false }));
});
afterAll(() => started.disposeAsync());

it('records a run against my-minio as one trace of six steps', async () => {
  await untilHealthy();
  const { status } = await get<Probe>('storageprobe', 'demo-my-minio', `--namespace=${STORAGE}`);
  const traceId = status?.targets?.[0]?.lastRun?.traceId ?? '';
  const signal = AbortSignal.timeout(ARRIVAL_MS);
  const trace = await waitForTrace(JAEGER_URL, traceId, { signal, spans: STEPS.length + 1 });
  expect(Object.values(trace.processes).map(({ serviceName }) => serviceName)).toEqual(['my-minio']);
  const run = treeOf(spansFromJaeger(trace));
  expect(run.name).toBe('storage probe');
  expect(run.children.map(({ name }) => name)).toEqual(STEPS);
});

it('passes helm test', async () => {
  expect(await helm('test', OPERATOR, `--namespace=${OPERATOR}`)).toMatch(/Phase: +Succeeded/);
});

it('runs as non-root with a read-only root file system, and cannot gain privileges', async () => {
  const [pod = ''] = await operatorPods();
  const status = await execOnNode(pod, 'cat /proc/$1/status');
  const fields = Object.fromEntries(
    status.split('\n').map((line) => line.split(/:?\s+/, 2) as [string, string]),
  );
  expect(fields).toMatchObject({
    Uid: '65532',
    Gid: '65532',
    CapPrm: '0000000000000000',
    CapEff: '0000000000000000',
    CapBnd: '0000000000000000',
    NoNewPrivs: '1',
    // Filter mode, with the container runtime's default profile.
    Seccomp: '2',
  });
  expect(await execOnNode(pod, 'grep " / " /proc/$1/mounts')).toMatch(/^\S+ \/ \S+ ro,/);
});

it.each([OPERATOR, STORAGE])(
  'the namespace %s rejects a Pod that violates the restricted Pod Security level',
  async (namespace) => {
    const flags = ['--image=any', '--restart=Never', '--dry-run=server'];
    await expect(kubectl('run', 'unrestricted', `--namespace=${namespace}`, ...flags)).rejects.toThrow(
      'violates PodSecurity "restricted:latest"',
    );
  },
);

it('generates the demo passwords once and exposes them only in Secrets', async () => {
  const passwords = await demoPasswords();
  expect(passwords).toEqual(initialPasswords);
  expect(new Set(passwords).size).toBe(3);
  for (const password of passwords) expect(password).toMatch(/^[A-Za-z0-9]{32}$/);

  const texts = Object.entries(await readableTexts());
  const empty = texts.filter(([, text]) => text === '').map(([source]) => source);
  const leaking = texts
    .filter(([, text]) =>
      passwords.some((password) => [password, btoa(password)].some((form) => text.includes(form))),
    )
    .map(([source]) => source);
  expect({ empty, leaking }).toEqual({ empty: [], leaking: [] });
});

it('keeps the probes and the CRD when uninstalled, and runs them again when reinstalled', async () => {
  const before = await uids();
  await uninstallOperator();
  expect(await operatorPods()).toEqual([]);
  expect(await uids()).toEqual(before);

  const fromMs = Date.now();
  await installOperator();
  const services = ['my-minio', 'archive'];
  await until(
    'a run of each probe',
    ARRIVAL_MS,
    async () => {
      const runs = [...(await runTimes(services)).values()];
      return runs.every((ofService) => ofService.some(({ startMs }) => startMs > fromMs));
    },
    POLL_MS,
  );
  await untilHealthy();
  expect(await uids()).toEqual(before);
});

async function upgradeDemo({ probes }: { readonly probes: boolean }): Promise<void> {
  const values = [`probes.enabled=${probes}`, 'probes.interval=2s'].map((value) => `--set=${value}`);
  await helm('upgrade', DEMO.name, DEMO.chart, `--namespace=${STORAGE}`, '--reuse-values', ...values);
}

async function untilHealthy(): Promise<void> {
  const probes = PROBES.map((probe) => `storageprobe/${probe}`);
  await kubectl('wait', '--for=condition=Healthy', ...probes, `--namespace=${STORAGE}`, '--timeout=90s');
}

/** Passwords of the store's root user and of the two probe users. */
async function demoPasswords(): Promise<string[]> {
  const secrets = await list<Secret>('secrets', `--namespace=${STORAGE}`);
  return secrets
    .filter(({ metadata }) => ['demo-minio', 'demo-ephemeral', 'demo-existing'].includes(metadata.name))
    .map(({ data }) => atob(data['rootPassword'] ?? data['secretKey'] ?? ''));
}

/** All texts that can be read without access to Secrets, by source. */
async function readableTexts(): Promise<Record<string, string>> {
  const texts: Record<string, string> = {
    values: await helm('get', 'values', 'demo', `--namespace=${STORAGE}`, '--all'),
    notes: await helm('get', 'notes', 'demo', `--namespace=${STORAGE}`),
    traces: JSON.stringify(await tracesOf('my-minio')),
  };
  for (const namespace of [OPERATOR, STORAGE]) {
    const inNamespace = `--namespace=${namespace}`;
    texts[`the objects of ${namespace}`] = await kubectl(
      'get',
      'all,configmaps,events,leases,sprobe',
      inNamespace,
      '--output=yaml',
    );
    for (const { metadata } of await list<Pod>('pods', inNamespace))
      texts[`the log of ${metadata.name}`] = `log:${await kubectl('logs', metadata.name, inNamespace)}`;
  }
  return texts;
}

/** UIDs of the CustomResourceDefinition and of the probes. */
async function uids(): Promise<string[]> {
  const definition = await get<Secret>('customresourcedefinition', 'storageprobes.storageprobe.dev');
  const probes = await list<Secret>('storageprobes', `--namespace=${STORAGE}`);
  return [definition, ...probes].map(({ metadata }) => metadata.uid);
}
