import { afterAll, beforeAll, expect, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { PASSED_RUN, spansOfJaeger, treeOf } from '../support/span-tree.ts';
import { until } from '../support/until.ts';
import {
  get,
  helm,
  installOperator,
  JAEGER_URL,
  kubectl,
  list,
  onNode,
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

/** The operator with the values that it has by default, but for where traces go; then the demo's probes. */
const started = new AsyncDisposableStack();
let passwordsAtFirst: readonly string[];

beforeAll(async () => {
  started.use(await installOperator());
  passwordsAtFirst = await demoPasswords();
  await upgradeDemo({ probes: true });
  started.defer(() => upgradeDemo({ probes: false }));
});
afterAll(() => started.disposeAsync());

it('traces what a user of my-minio does in six steps', async () => {
  await untilHealthy();
  const { status } = await get<Probe>('storageprobe', 'demo-my-minio', `--namespace=${STORAGE}`);
  const traceId = status?.targets?.[0]?.lastRun?.traceId ?? '';
  const signal = AbortSignal.timeout(ARRIVAL_MS);
  const trace = await waitForTrace(JAEGER_URL, traceId, { signal, spans: STEPS.length + 1 });
  expect(Object.values(trace.processes).map(({ serviceName }) => serviceName)).toEqual(['my-minio']);
  const run = treeOf(spansOfJaeger(trace));
  expect(run.name).toBe('storage probe');
  expect(run.children.map(({ name }) => name)).toEqual(STEPS);
});

it('passes its own test', async () => {
  expect(await helm('test', OPERATOR, `--namespace=${OPERATOR}`)).toMatch(/Phase: +Succeeded/);
});

it('runs as nobody, on a file system that it cannot write to, and may get no further rights', async () => {
  const [pod = ''] = await operatorPods();
  const status = await onNode(pod, 'cat /proc/$1/status');
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
    // By a filter: that of the runtime.
    Seccomp: '2',
  });
  expect(await onNode(pod, 'grep " / " /proc/$1/mounts')).toMatch(/^\S+ \/ \S+ ro,/);
});

it.each([OPERATOR, STORAGE])(
  'the namespace %s lets in what Pod Security calls restricted alone',
  async (namespace) => {
    const careless = ['--image=any', '--restart=Never', '--dry-run=server'];
    await expect(kubectl('run', 'careless', `--namespace=${namespace}`, ...careless)).rejects.toThrow(
      'violates PodSecurity "restricted:latest"',
    );
  },
);

it('made up the passwords, keeps them, and tells them to nobody', async () => {
  const passwords = await demoPasswords();
  expect(passwords).toEqual(passwordsAtFirst);
  expect(new Set(passwords).size).toBe(3);
  for (const password of passwords) expect(password).toMatch(/^[A-Za-z0-9]{32}$/);

  const told = Object.entries(await whatIsTold());
  const silent = told.filter(([, text]) => text === '').map(([where]) => where);
  const tells = told
    .filter(([, text]) =>
      passwords.some((password) => [password, btoa(password)].some((form) => text.includes(form))),
    )
    .map(([where]) => where);
  expect({ silent, tells }).toEqual({ silent: [], tells: [] });
});

it('leaves the probes and their definition when it is uninstalled, and takes them up again', async () => {
  const before = await uids();
  await uninstallOperator();
  expect(await operatorPods()).toEqual([]);
  expect(await uids()).toEqual(before);

  const fromMs = Date.now();
  await installOperator();
  const services = ['my-minio', 'archive'];
  await until(
    'a run of each',
    ARRIVAL_MS,
    async () => {
      const runs = [...(await runTimes(services)).values()];
      return runs.every((own) => own.some(({ startMs }) => startMs > fromMs));
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

/** Of the store's root and of the probes' two users. */
async function demoPasswords(): Promise<string[]> {
  const secrets = await list<Secret>('secrets', `--namespace=${STORAGE}`);
  return secrets
    .filter(({ metadata }) => ['demo-minio', 'demo-ephemeral', 'demo-existing'].includes(metadata.name))
    .map(({ data }) => atob(data['rootPassword'] ?? data['secretKey'] ?? ''));
}

/** All that others than the readers of Secrets can read, by where it stands. */
async function whatIsTold(): Promise<Record<string, string>> {
  const told: Record<string, string> = {
    values: await helm('get', 'values', 'demo', `--namespace=${STORAGE}`, '--all'),
    notes: await helm('get', 'notes', 'demo', `--namespace=${STORAGE}`),
    traces: JSON.stringify(await tracesOf('my-minio')),
  };
  for (const namespace of [OPERATOR, STORAGE]) {
    const within = `--namespace=${namespace}`;
    told[`the objects of ${namespace}`] = await kubectl(
      'get',
      'all,configmaps,events,leases,sprobe',
      within,
      '--output=yaml',
    );
    for (const { metadata } of await list<Pod>('pods', within))
      told[`the log of ${metadata.name}`] = `log:${await kubectl('logs', metadata.name, within)}`;
  }
  return told;
}

/** Of the CustomResourceDefinition and of the probes. */
async function uids(): Promise<string[]> {
  const definition = await get<Secret>('customresourcedefinition', 'storageprobes.storageprobe.dev');
  const probes = await list<Secret>('storageprobes', `--namespace=${STORAGE}`);
  return [definition, ...probes].map(({ metadata }) => metadata.uid);
}
