import { execFile } from 'node:child_process';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';

import { getBinary } from '../../deploy/local/binary.ts';
import { type Minio, startMinio } from '../../deploy/local/minio.ts';
import {
  type Command,
  type PortChooser,
  type RunningServer,
  startServer,
} from '../../deploy/local/running-server.ts';
import { findTraces, waitForTrace } from '../../deploy/local/traces.ts';
import type { RunResult } from '../../src/api/run.ts';
import { resultOf, runCli } from '../integration/cli.ts';
import { type Manifest, renderChart } from '../../deploy/local/helm.ts';

const SCRIPT_TIMEOUT_MS = 30_000;
const METRICS_TIMEOUT_MS = 20_000;

interface EnvVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
}

/** The chart's MinIO, user script, Jaeger and Collector, running without a cluster. */
const started = new AsyncDisposableStack();
let dir: string;
let manifests: readonly Manifest[];
let minio: Minio;

beforeAll(async () => {
  dir = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-demo-'))).path;
  // Drops the traces of all passed runs.
  const sampling = { passedRunsPercent: 0, decisionWait: '1s' };
  manifests = await renderChart('storage-probe-demo', { collector: { sampling } });
  const root = {
    rootUser: secret('demo-minio', 'rootUser'),
    rootPassword: secret('demo-minio', 'rootPassword'),
  };
  minio = started.use(await startMinio({ dir: join(dir, 'minio'), ...root }));
});
afterAll(() => started.disposeAsync());

function find(kind: string, name: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found === undefined) throw new Error(`the chart renders no ${kind} ${name}`);
  return found;
}

function dataOf(kind: 'Secret' | 'ConfigMap', name: string): Record<string, string> {
  return find(kind, name)['data'] as Record<string, string>;
}

function secret(name: string, key: string): string {
  return Buffer.from(dataOf('Secret', name)[key] ?? '', 'base64').toString();
}

/** The environment that the kubelet would set. */
function envOf(kind: string, name: string): Record<string, string> {
  const { spec } = find(kind, name) as unknown as {
    spec: { template: { spec: { containers: [{ env: EnvVariable[] }] } } };
  };
  const env: Record<string, string> = {};
  for (const { name: variable, value = '', valueFrom } of spec.template.spec.containers[0].env) {
    const ref = valueFrom?.secretKeyRef;
    env[variable] =
      ref === undefined
        ? value.replaceAll(/\$\((\w+)\)/g, (_, used: string) => env[used] ?? '')
        : secret(ref.name, ref.key);
  }
  return env;
}

/** Runs the Job's script and returns its output. */
async function createUsers(): Promise<string> {
  const files = join(dir, 'users');
  await mkdir(files, { recursive: true });
  for (const [name, text] of Object.entries(dataOf('ConfigMap', 'demo-minio-users')))
    await writeFile(join(files, name), text);
  const env = envOf('Job', 'demo-minio-users');
  const { stdout, stderr } = await promisify(execFile)('/bin/sh', [join(files, 'make-users.sh')], {
    env: {
      ...env,
      PATH: `${dirname(await getBinary('mc'))}:${process.env['PATH']}`,
      HOME: dir,
      MC_CONFIG_DIR: join(dir, 'mc'),
      POLICIES: files,
      MC_HOST_store: env['MC_HOST_store']?.replace('demo-minio:9000', new URL(minio.url).host),
    },
    timeout: SCRIPT_TIMEOUT_MS,
  });
  return stdout + stderr;
}

interface RunOptions {
  /** Secret with the credentials to use. */
  readonly user: string;
  readonly secretKey?: string;
  readonly collectorUrl?: string;
}

/** Runs one of the chart's StorageProbes once against the local MinIO. */
async function runProbe(name: string, options: RunOptions): Promise<RunResult> {
  const { user, secretKey = secret(user, 'secretKey'), collectorUrl } = options;
  const probe = JSON.stringify(find('StorageProbe', name));
  const end = await runCli(['run', '-f', '-', '-o', 'json'], {
    credentials: { accessKey: secret(user, 'accessKey'), secretKey },
    input: probe.replaceAll('http://demo-minio.storage.svc:9000', minio.url),
    ...(collectorUrl !== undefined && { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl } }),
  });
  return resultOf(end);
}

describe('the users of the store', () => {
  beforeAll(createUsers);

  it('can be created repeatedly, without printing passwords', async () => {
    const printed = await createUsers();
    for (const user of ['probe-ephemeral', 'probe-existing'])
      expect(printed).toContain(`Added user \`${user}\` successfully.`);
    for (const { metadata, data } of manifests.filter(({ kind }) => kind === 'Secret'))
      for (const key of Object.keys(data as object).filter((name) => /password|secret/i.test(name)))
        expect(printed).not.toContain(secret(metadata.name, key));
  });

  it.each([
    { probe: 'demo-my-minio', user: 'demo-ephemeral' },
    { probe: 'demo-archive', user: 'demo-existing' },
  ])('$user has the permissions that $probe needs', async ({ probe, user }) => {
    expect(await runProbe(probe, { user })).toMatchObject({ verdict: 'Passed' });
  });

  it.each([
    { probe: 'demo-my-minio', user: 'demo-existing' },
    { probe: 'demo-archive', user: 'demo-ephemeral' },
  ])('$user lacks the permissions that $probe needs', async ({ probe, user }) => {
    expect(await runProbe(probe, { user })).toMatchObject({ verdict: 'Failed', reason: 'AccessDenied' });
  });

  it('keeps the trace of every run that did not pass and counts all runs', { timeout: 120_000 }, async () => {
    const { queryUrl, otlp } = started.use(await startJaeger());
    const { collectorUrl, metricsUrl } = started.use(await startCollector(otlp));
    const user = 'demo-ephemeral';
    const passed = await runProbe('demo-my-minio', { user, collectorUrl });
    const failed = await runProbe('demo-my-minio', { user, collectorUrl, secretKey: 'of-another-store' });
    expect([passed.verdict, failed.verdict]).toEqual(['Passed', 'Failed']);

    const signal = AbortSignal.timeout(METRICS_TIMEOUT_MS);
    await waitForTrace(queryUrl, failed.traceId, { signal, spans: 3 });
    const kept = await findTraces(queryUrl, 'my-minio', { signal });
    expect(kept.map(({ traceID }) => traceID)).toEqual([failed.traceId]);

    async function samples(): Promise<string[]> {
      const accept = 'application/openmetrics-text; version=1.0.0';
      const text = await (await fetch(metricsUrl, { headers: { accept }, signal })).text();
      return text.split('\n').filter((line) => line.includes('span_name="storage probe"'));
    }
    await expect
      .poll(samples, { timeout: METRICS_TIMEOUT_MS, interval: 200 })
      .toEqual(
        expect.arrayContaining([
          expect.stringMatching(/_count\{.*service_name="my-minio".*status_code="STATUS_CODE_UNSET"\} 1$/),
          expect.stringMatching(/_count\{.*storageprobe_reason="SignatureMismatch"\} 1$/),
          expect.stringContaining(`trace_id="${failed.traceId}"`),
        ]),
      );
  });
});

interface PortsByName {
  readonly [port: string]: number;
}

/** Runs one of the chart's configurations with the Jaeger binary on free ports. */
async function startWithJaeger<T extends PortsByName>(
  component: 'jaeger' | 'collector',
  ports: Readonly<Record<keyof T & string, readonly string[]>>,
  edit: (text: string) => string = (text) => text,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningServer & { readonly ports: T }> {
  const text = edit(dataOf('ConfigMap', `demo-${component}`)[`${component}.yaml`] ?? '');
  const file = join(dir, `${component}.yaml`);
  const health = ['extensions', 'healthcheckv2', 'http', 'endpoint'];
  return startServer({
    name: component,
    binary: await getBinary('jaeger'),
    logFile: join(dir, `${component}.log`),
    async command(choosePort: PortChooser): Promise<Command<{ readonly ports: T }>> {
      const document = parseDocument(text);
      const chosen: Record<string, number> = {};
      for (const [name, path] of Object.entries<readonly string[]>({ ...ports, health })) {
        chosen[name] = await choosePort();
        document.setIn(path, `127.0.0.1:${chosen[name]}`);
      }
      await writeFile(file, document.toString());
      return {
        args: ['--config', file],
        env: { ...envOf('Deployment', `demo-${component}`), ...env },
        healthUrls: [`http://127.0.0.1:${chosen['health']}/status`],
        addresses: { ports: chosen as T },
      };
    },
  });
}

async function startJaeger(): Promise<
  AsyncDisposable & { readonly queryUrl: string; readonly otlp: string }
> {
  const server = await startWithJaeger<{ ui: number; grpc: number; query: number }>('jaeger', {
    ui: ['extensions', 'jaeger_query', 'http', 'endpoint'],
    query: ['extensions', 'jaeger_query', 'grpc', 'endpoint'],
    grpc: ['receivers', 'otlp', 'protocols', 'grpc', 'endpoint'],
  });
  const { ui, grpc } = server.ports;
  return { ...server, queryUrl: `http://127.0.0.1:${ui}`, otlp: `127.0.0.1:${grpc}` };
}

/** The Jaeger binary contains an older Collector, where some components and one setting differ. */
function forOlderCollector(text: string): string {
  const document = parseDocument(
    text
      .replaceAll('otlp_grpc', 'otlp')
      .replaceAll('span_metrics', 'spanmetrics')
      .replaceAll('health_check', 'healthcheckv2'),
  );
  document.setIn(['extensions', 'healthcheckv2'], { use_v2: true, http: {} });
  document.deleteIn(['processors', 'tail_sampling', 'decision_wait_after_root_received']);
  document.setIn(['service', 'telemetry', 'metrics'], { level: 'none' });
  return document.toString();
}

async function startCollector(
  jaegerOtlp: string,
): Promise<AsyncDisposable & { readonly collectorUrl: string; readonly metricsUrl: string }> {
  const server = await startWithJaeger<{ grpc: number; http: number; metrics: number }>(
    'collector',
    {
      grpc: ['receivers', 'otlp', 'protocols', 'grpc', 'endpoint'],
      http: ['receivers', 'otlp', 'protocols', 'http', 'endpoint'],
      metrics: ['exporters', 'prometheus', 'endpoint'],
    },
    forOlderCollector,
    { JAEGER_OTLP: jaegerOtlp },
  );
  const { grpc, metrics } = server.ports;
  return {
    ...server,
    collectorUrl: `http://127.0.0.1:${grpc}`,
    metricsUrl: `http://127.0.0.1:${metrics}/metrics`,
  };
}
