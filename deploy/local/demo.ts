/**
 * `make demo-local`: runs the whole product on this machine, without containers, until Ctrl-C or, with `DEMO_EXIT=1`,
 * until all traces have arrived. Exits with 1 if a step fails, a probe does not become Healthy, or a trace does not
 * arrive.
 */
import { once } from 'node:events';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, relative } from 'node:path';

import { RUN_REQUEST_ANNOTATION } from '../../src/api/probe-status.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import { findBinary, getBinary } from './binary.ts';
import { spawnChild, stopSignal, waitForExit } from './child.ts';
import { ADMIN, OPERATOR, startControlPlane, type ControlPlane, type KubeAccess } from './control-plane.ts';
import { startController, type Controller } from './controller.ts';
import { demoProbe, envFile, secretManifest } from './demo-files.ts';
import { startCollector, startJaeger, type Collector, type Jaeger } from './jaeger.ts';
import { applyManifests } from './kube-apply.ts';
import { LiveText } from './live-text.ts';
import { withLock } from './lock.ts';
import { createMinioUser, runMc, startMinio, type Minio } from './minio.ts';
import type { RunningServer } from './running-server.ts';
import { SERVERS } from './servers.ts';
import { apiServerSource, watchProbes } from './watch-probes.ts';

const RUNS = 6;
const INTERVAL = '2s';
const HEALTHY_DEADLINE_MS = 60_000;
const MINIO_RESTART_DELAY_MS = 15_000;

const ROOT = join(import.meta.dirname, '../..');
const DEPLOY = join(ROOT, 'deploy');
const STATE = join(ROOT, '.demo');
const LOCK = 'lock';
const KUBECONFIG = join(STATE, 'kubeconfig');
const NAMESPACE = 'storage';

interface Sample {
  readonly file: string;
  /** The Secret that the sample refers to. */
  readonly secret: string;
  /** Policy file of the probe's MinIO user. The policy allows only what the probe needs. */
  readonly policy: string;
  /** Bucket to create before the probe runs. */
  readonly bucket?: string;
}

/** A sample adapted to this machine. */
interface PreparedSample {
  readonly probeFile: string;
  /** File for `run --secret`. */
  readonly secretFile: string;
  readonly secret: string;
  readonly secretManifest: string;
}

const MY_MINIO: Sample = {
  file: 'my-minio.yaml',
  secret: 'my-minio-probe',
  policy: 'probe-policy.json',
};
const ARCHIVE: Sample = {
  file: 'existing-bucket.yaml',
  secret: 'archive-probe',
  policy: 'existing-bucket-policy.json',
  bucket: 'canary',
};

interface Servers {
  readonly minio: Minio;
  readonly jaeger: Jaeger;
  readonly collector: Collector;
  readonly controlPlane: ControlPlane;
}

const stopping = stopSignal();
try {
  await mkdir(STATE, { recursive: true });
  await withLock(join(STATE, LOCK), { onBusy: rejectSecondDemo }, () => demo(stopping));
} catch (error) {
  if (!stopping.aborted) {
    console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

function progress(line: string): void {
  console.log(`· ${line}`);
}

async function demo(signal: AbortSignal): Promise<void> {
  await using cleanUp = new AsyncDisposableStack();
  await clearState(() => true);
  cleanUp.defer(() => clearState((name) => !name.endsWith('.log')));

  const minio = cleanUp.use(await startMinio({ dir: STATE, signal, progress }));
  const myMinio = await prepareSample(MY_MINIO, minio, signal);
  const samples = [myMinio, await prepareSample(ARCHIVE, minio, signal)];
  const runFlags = [
    `--filename=${relativePath(myMinio.probeFile)}`,
    `--secret=${myMinio.secret}=${relativePath(myMinio.secretFile)}`,
  ];

  progress(`MinIO is ready at ${minio.url}. A first run from this machine, without sending its trace:\n`);
  await showWhileBuilding(signal, () =>
    runInCheckout(process.execPath, ['src/main.ts', 'run', ...runFlags, '--exporter=none'], {}, signal),
  );

  progress('starting Jaeger, a Collector and a Kubernetes API server');
  const servers = { minio, ...(await startOtherServers(cleanUp, signal)) };
  const { jaeger, controlPlane } = servers;
  const controller = cleanUp.use(await installOperator(servers, samples, signal));
  progress(
    'the operator is running with minimal permissions, and with --allow-addresses for MinIO on loopback',
  );

  const kubectl = await applySamples(controlPlane, samples, signal);
  progress(`both probes now run every ${INTERVAL}. Output of kubectl get sprobe -A:\n`);
  const all = [minio, jaeger, servers.collector, controlPlane.etcd, controlPlane.apiServer, controller];
  const probes = await Promise.race([
    watchProbes({
      source: apiServerSource(controlPlane),
      queryUrl: jaeger.queryUrl,
      live: new LiveText(process.stdout),
      probes: samples.length,
      runs: RUNS,
      deadlineMs: HEALTHY_DEADLINE_MS,
      signal,
    }),
    ...all.map(failOnExit),
  ]);
  progress(`all probes are Healthy, and their ${samples.length * RUNS} traces are in Jaeger\n`);

  const lastTrace = probes.find(({ name }) => name === 'my-minio')?.passed[0]?.[0] ?? '';
  console.log(await addresses(servers, controller));
  console.log(nextCommands({ servers, controller, kubectl, runFlags, lastTrace }));
  if (process.env['DEMO_EXIT'] === '1') return;

  console.log('\nPress Ctrl-C to stop everything.');
  const others = all.filter((server) => server !== minio);
  await Promise.race([restartMinioOnExit(minio, cleanUp, signal), ...others.map(failOnExit)]);
}

async function prepareSample(
  { file, secret, policy, bucket }: Sample,
  minio: Minio,
  signal: AbortSignal,
): Promise<PreparedSample> {
  if (bucket !== undefined) await runMc(minio, ['mb', `local/${bucket}`], { signal, progress });
  const keys = await createMinioUser(minio, join(DEPLOY, 'local/minio', policy), { signal, progress });
  const sample = await readFile(join(DEPLOY, 'samples', file), 'utf8');
  const probeFile = join(STATE, file);
  const secretFile = join(STATE, `${secret}.env`);
  await writeFile(probeFile, demoProbe(sample, { endpoint: minio.url, interval: INTERVAL }));
  await writeFile(secretFile, envFile({ ...keys }), { mode: 0o600 });
  return { probeFile, secretFile, secret, secretManifest: secretManifest(NAMESPACE, secret, { ...keys }) };
}

/** Builds the missing servers one after another while `show` runs. */
async function showWhileBuilding(signal: AbortSignal, show: () => Promise<void>): Promise<void> {
  const cancelBuild = new AbortController();
  const buildSignal = AbortSignal.any([signal, cancelBuild.signal]);
  async function build(): Promise<void> {
    for (const name of ['jaeger', 'etcd', 'kube-apiserver'] as const)
      await getBinary(name, { signal: buildSignal, progress });
  }
  const building = build();
  const settled = building.catch(() => undefined);
  try {
    await show();
    await building;
  } finally {
    cancelBuild.abort();
    await settled;
  }
}

/** Hands every server that has started to `cleanUp`, even if another server fails to start. */
async function startOtherServers(
  cleanUp: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Omit<Servers, 'minio'>> {
  async function startTelemetry(): Promise<Pick<Servers, 'jaeger' | 'collector'>> {
    const jaeger = cleanUp.use(await startJaeger({ dir: STATE, signal }));
    const backendUrl = jaeger.otlpGrpcUrl;
    return { jaeger, collector: cleanUp.use(await startCollector({ dir: STATE, backendUrl, signal })) };
  }
  async function startKubernetes(): Promise<Pick<Servers, 'controlPlane'>> {
    return { controlPlane: cleanUp.use(await startControlPlane({ dir: STATE, signal })) };
  }
  const starting = [startTelemetry(), startKubernetes()] as const;
  await Promise.allSettled(starting);
  const [telemetry, kubernetes] = await Promise.all(starting);
  return { ...telemetry, ...kubernetes };
}

async function installOperator(
  { controlPlane, collector }: Servers,
  samples: readonly PreparedSample[],
  signal: AbortSignal,
): Promise<Controller> {
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml'])
    await applyManifests(controlPlane, await readFile(join(DEPLOY, file), 'utf8'), { signal });
  for (const sample of samples) await applyManifests(controlPlane, sample.secretManifest, { signal });
  await copyFile(await controlPlane.kubeconfigFor(ADMIN, NAMESPACE), KUBECONFIG);
  return startController({
    dir: STATE,
    signal,
    kubeconfigFile: await controlPlane.kubeconfigFor(OPERATOR),
    otlpGrpcUrl: collector.otlpGrpcUrl,
    // Updates the table after every run.
    flags: ['--status-heartbeat=1s'],
  });
}

/** Returns the command to use for kubectl, or undefined if kubectl is not installed. */
async function applySamples(
  access: KubeAccess,
  samples: readonly PreparedSample[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const files = samples.map(({ probeFile }) => relativePath(probeFile));
  const binary = await findBinary('kubectl');
  if (binary === undefined) {
    progress(
      `applying ${files.join(' and ')} (through the Kubernetes API, because kubectl is not installed)`,
    );
    for (const { probeFile } of samples)
      await applyManifests(access, await readFile(probeFile, 'utf8'), { signal });
    return undefined;
  }
  const isOnPath = (process.env['PATH'] ?? '').split(delimiter).includes(dirname(binary));
  const kubectl = isOnPath ? 'kubectl' : binary;
  const args = ['apply', ...files.flatMap((file) => ['-f', file])];
  const env = { KUBECONFIG: relativePath(KUBECONFIG) };
  console.log(`\n$ ${envFile(env).trim()} ${kubectl} ${args.join(' ')}`);
  await runInCheckout(binary, args, env, signal);
  console.log();
  return kubectl;
}

/** Runs a command in this checkout, with its output on this terminal. */
async function runInCheckout(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  // OTEL_ variables in the user's shell are meant for other programs.
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('OTEL_'));
  const child = await spawnChild(command, args, {
    cwd: ROOT,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const { code } = await waitForExit(child, signal);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} exited with code ${code}`);
}

async function addresses({ minio, jaeger, collector }: Servers, controller: Controller): Promise<string> {
  return `MinIO     ${minio.url}, console ${minio.consoleUrl} (keys in ${relativePath(STATE)}/*.env)
Jaeger    ${jaeger.queryUrl}, traces at ${jaeger.queryUrl}/api/traces/<id>${await missingUiNote(jaeger.queryUrl)}
OTLP      ${collector.otlpGrpcUrl} (gRPC), ${collector.otlpHttpUrl} (HTTP)
Operator  ${controller.url}/metrics, log ${relativePath(controller.logFile)}
`;
}

function nextCommands(to: {
  readonly servers: Servers;
  readonly controller: Controller;
  readonly kubectl: string | undefined;
  readonly runFlags: readonly string[];
  readonly lastTrace: string;
}): string {
  const { servers, controller, kubectl = 'kubectl', runFlags, lastTrace } = to;
  const { minio, jaeger, collector } = servers;
  const note =
    to.kubectl === undefined
      ? `\n  # kubectl is not installed; to build it (${SERVERS.kubectl.buildTime}): node deploy/local/build.ts kubectl`
      : '';
  return `Next, in another terminal in ${ROOT}:${note}
  export KUBECONFIG=$PWD/${relativePath(KUBECONFIG)}
  ${kubectl} get sprobe -A -o wide -w
  ${kubectl} describe sprobe my-minio
  ${kubectl} annotate sprobe my-minio --overwrite ${RUN_REQUEST_ANNOTATION}="$(date)"
  kill ${minio.pid}    # MinIO: both probes become unhealthy, then Healthy again after it restarts in ${MINIO_RESTART_DELAY_MS / 1_000} s
  curl -s ${controller.url}/metrics | grep 'probe="my-minio"'
  curl -s ${jaeger.queryUrl}/api/traces/${lastTrace}    # the last trace of my-minio
To run the same file once from this machine:
  OTEL_EXPORTER_OTLP_ENDPOINT=${collector.otlpGrpcUrl} bin/storage-probe run ${runFlags.join(' ')} --jaeger-url=${jaeger.queryUrl}`;
}

/** Only Jaeger's releases contain the web UI. A program built from the Go module serves only the API. */
async function missingUiNote(queryUrl: string): Promise<string> {
  const page = await fetch(queryUrl);
  if (!(await page.text()).includes('not the Jaeger UI')) return '';
  const { envVariable, image } = SERVERS.jaeger;
  return `\n          (without the web UI; to get it, set ${envVariable} to a released binary, for example from ${image})`;
}

/** Restarts MinIO after a delay each time it exits. Resolves when the signal aborts. */
async function restartMinioOnExit(
  first: Minio,
  cleanUp: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<void> {
  let minio = first;
  while (!signal.aborted) {
    await Promise.race([minio.exited, once(signal, 'abort')]);
    if (signal.aborted) return;
    progress(`MinIO exited, restarting it in ${MINIO_RESTART_DELAY_MS / 1_000} s`);
    await systemClock.sleep(MINIO_RESTART_DELAY_MS, signal);
    const { port, rootUser, rootPassword } = minio;
    minio = cleanUp.use(await startMinio({ dir: STATE, port, rootUser, rootPassword, signal }));
    progress(`MinIO is running again, as process ${minio.pid}`);
  }
}

async function failOnExit({ name, exited, logFile }: RunningServer): Promise<never> {
  await exited;
  throw new Error(`${name} exited unexpectedly; its log is ${logFile}`);
}

/** Removes files from the demo's folder, except the lock. */
async function clearState(shouldRemove: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(STATE)) {
    if (!name.startsWith(LOCK) && shouldRemove(name))
      await rm(join(STATE, name), { recursive: true, force: true });
  }
}

/** Returns the path relative to the checkout, for messages. */
function relativePath(path: string): string {
  return relative(ROOT, path);
}

function rejectSecondDemo(holder: number): never {
  throw new Error(`the demo is already running, as process ${holder}`);
}
