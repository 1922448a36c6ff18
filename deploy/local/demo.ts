/**
 * `make demo-local`: the whole product on this machine, without containers. It stays up until Ctrl-C; with
 * `DEMO_EXIT=1` it ends by itself. Exit code 1 when anything fails, a probe does not get Healthy, or a trace does not
 * arrive.
 */
import { once } from 'node:events';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, relative } from 'node:path';

import { RUN_REQUEST_ANNOTATION } from '../../src/api/probe-status.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import { findBinary, getBinary } from './binary.ts';
import { spawnChild, stopSignal, untilEnded } from './child.ts';
import { ADMIN, OPERATOR, startControlPlane, type ControlPlane, type KubeAccess } from './control-plane.ts';
import { startController, type Controller } from './controller.ts';
import { demoProbe, envFile, secretManifest } from './demo-files.ts';
import { startCollector, startJaeger, type Collector, type Jaeger } from './jaeger.ts';
import { applyManifests } from './kube-apply.ts';
import { LiveText } from './live-text.ts';
import { withLock } from './lock.ts';
import { makeMinioUser, runMc, startMinio, type Minio } from './minio.ts';
import type { RunningServer } from './running-server.ts';
import { SERVERS } from './servers.ts';
import { askingFor, watchProbes } from './watch-probes.ts';

const RUNS = 6;
const INTERVAL = '2s';
const HEALTHY_DEADLINE_MS = 60_000;
const MINIO_AWAY_MS = 15_000;

const ROOT = join(import.meta.dirname, '../..');
const DEPLOY = join(ROOT, 'deploy');
const STATE = join(ROOT, '.demo');
const LOCK = 'lock';
const KUBECONFIG = join(STATE, 'kubeconfig');
const NAMESPACE = 'storage';

interface Sample {
  readonly file: string;
  /** The Secret that it names. */
  readonly secret: string;
  /** What its user may do in MinIO: no more than the probe needs. */
  readonly policy: string;
  /** To be made before. */
  readonly bucket?: string;
}

/** A sample, made ready for this machine. */
interface Applicable {
  readonly probeFile: string;
  /** For `run --secret`. */
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
  await withLock(join(STATE, LOCK), { onTaken: refuse }, () => demo(stopping));
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
    `--filename=${shown(myMinio.probeFile)}`,
    `--secret=${myMinio.secret}=${shown(myMinio.secretFile)}`,
  ];

  progress(`MinIO is up at ${minio.url}; a first run from here, not yet sent anywhere:\n`);
  await whileBuilding(signal, () =>
    runHere(process.execPath, ['src/main.ts', 'run', ...runFlags, '--exporter=none'], {}, signal),
  );

  progress('starting Jaeger, a Collector and a Kubernetes API server');
  const servers = { minio, ...(await startRest(cleanUp, signal)) };
  const { jaeger, controlPlane } = servers;
  const controller = cleanUp.use(await installOperator(servers, samples, signal));
  progress(
    'the operator runs, with no rights but its own, and with --allow-addresses for this loopback MinIO',
  );

  const kubectl = await applySamples(controlPlane, samples, signal);
  progress(`they run every ${INTERVAL} now; this is kubectl get sprobe -A:\n`);
  const all = [minio, jaeger, servers.collector, controlPlane.etcd, controlPlane.apiServer, controller];
  const probes = await Promise.race([
    watchProbes({
      source: askingFor(controlPlane),
      queryUrl: jaeger.queryUrl,
      live: new LiveText(process.stdout),
      probes: samples.length,
      runs: RUNS,
      deadlineMs: HEALTHY_DEADLINE_MS,
      signal,
    }),
    ...all.map(expectToStay),
  ]);
  progress(`all are Healthy, and their ${samples.length * RUNS} traces stand in Jaeger\n`);

  const lastTrace = probes.find(({ name }) => name === 'my-minio')?.passed[0]?.[0] ?? '';
  console.log(await addresses(servers, controller));
  console.log(nextCommands({ servers, controller, kubectl, runFlags, lastTrace }));
  if (process.env['DEMO_EXIT'] === '1') return;

  console.log('\nCtrl-C stops everything.');
  const others = all.filter((server) => server !== minio);
  await Promise.race([bringBackMinio(minio, cleanUp, signal), ...others.map(expectToStay)]);
}

async function prepareSample(
  { file, secret, policy, bucket }: Sample,
  minio: Minio,
  signal: AbortSignal,
): Promise<Applicable> {
  if (bucket !== undefined) await runMc(minio, ['mb', `local/${bucket}`], { signal, progress });
  const keys = await makeMinioUser(minio, join(DEPLOY, 'local/minio', policy), { signal, progress });
  const sample = await readFile(join(DEPLOY, 'samples', file), 'utf8');
  const probeFile = join(STATE, file);
  const secretFile = join(STATE, `${secret}.env`);
  await writeFile(probeFile, demoProbe(sample, { endpoint: minio.url, interval: INTERVAL }));
  await writeFile(secretFile, envFile({ ...keys }), { mode: 0o600 });
  return { probeFile, secretFile, secret, secretManifest: secretManifest(NAMESPACE, secret, { ...keys }) };
}

/** Builds what is still missing, one after another, while `show` has something to show. */
async function whileBuilding(signal: AbortSignal, show: () => Promise<void>): Promise<void> {
  const giveUp = new AbortController();
  const either = AbortSignal.any([signal, giveUp.signal]);
  async function build(): Promise<void> {
    for (const name of ['jaeger', 'etcd', 'kube-apiserver'] as const)
      await getBinary(name, { signal: either, progress });
  }
  const building = build();
  const ended = building.catch(() => undefined);
  try {
    await show();
    await building;
  } finally {
    giveUp.abort();
    await ended;
  }
}

/** What has started is given to `cleanUp`, also when something else has not. */
async function startRest(
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
  samples: readonly Applicable[],
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
    // The table shall move with each run.
    flags: ['--status-heartbeat=1s'],
  });
}

/** Returns what to type for kubectl, unless there is none. */
async function applySamples(
  access: KubeAccess,
  samples: readonly Applicable[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const files = samples.map(({ probeFile }) => shown(probeFile));
  const binary = await findBinary('kubectl');
  if (binary === undefined) {
    progress(`applying ${files.join(' and ')} (without kubectl, which is not there)`);
    for (const { probeFile } of samples)
      await applyManifests(access, await readFile(probeFile, 'utf8'), { signal });
    return undefined;
  }
  const isOnPath = (process.env['PATH'] ?? '').split(delimiter).includes(dirname(binary));
  const kubectl = isOnPath ? 'kubectl' : binary;
  const args = ['apply', ...files.flatMap((file) => ['-f', file])];
  const env = { KUBECONFIG: shown(KUBECONFIG) };
  console.log(`\n$ ${envFile(env).trim()} ${kubectl} ${args.join(' ')}`);
  await runHere(binary, args, env, signal);
  console.log();
  return kubectl;
}

/** Runs a command in this checkout as its user would, with its output on this terminal. */
async function runHere(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  // What the user's shell says about telemetry is meant for other programs.
  const own = Object.entries(process.env).filter(([key]) => !key.startsWith('OTEL_'));
  const child = await spawnChild(command, args, {
    cwd: ROOT,
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const { code } = await untilEnded(child, signal);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with exit code ${code}`);
}

async function addresses({ minio, jaeger, collector }: Servers, controller: Controller): Promise<string> {
  return `MinIO     ${minio.url}, console ${minio.consoleUrl} (keys in ${shown(STATE)}/*.env)
Jaeger    ${jaeger.queryUrl}, a trace ${jaeger.queryUrl}/api/traces/<id>${await noteOnPage(jaeger.queryUrl)}
OTLP      ${collector.otlpGrpcUrl} by gRPC, ${collector.otlpHttpUrl} by HTTP
Operator  ${controller.url}/metrics, log ${shown(controller.logFile)}
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
      ? `\n  # no kubectl here; built and told where, in ${SERVERS.kubectl.takes}: node deploy/local/build.ts kubectl`
      : '';
  return `Next, in another terminal, in ${ROOT}:${note}
  export KUBECONFIG=$PWD/${shown(KUBECONFIG)}
  ${kubectl} get sprobe -A -o wide -w
  ${kubectl} describe sprobe my-minio
  ${kubectl} annotate sprobe my-minio --overwrite ${RUN_REQUEST_ANNOTATION}="$(date)"
  kill ${minio.pid}    # MinIO: both get unhealthy, and Healthy again once it is back, after ${MINIO_AWAY_MS / 1_000} s
  curl -s ${controller.url}/metrics | grep 'probe="my-minio"'
  curl -s ${jaeger.queryUrl}/api/traces/${lastTrace}    # the last trace of my-minio
The same file, once, from here:
  OTEL_EXPORTER_OTLP_ENDPOINT=${collector.otlpGrpcUrl} bin/storage-probe run ${runFlags.join(' ')} --jaeger-url=${jaeger.queryUrl}`;
}

/** Jaeger's page is not part of its Go module, but of its releases. */
async function noteOnPage(queryUrl: string): Promise<string> {
  const page = await fetch(queryUrl);
  if (!(await page.text()).includes('not the Jaeger UI')) return '';
  const { variable, image } = SERVERS.jaeger;
  return `\n          (without its page, which only releases have: set ${variable} to one, or take it from ${image})`;
}

/** Starts MinIO again, after a while, whenever somebody ends it. Resolves when the signal aborts. */
async function bringBackMinio(
  first: Minio,
  cleanUp: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<void> {
  let minio = first;
  while (!signal.aborted) {
    await Promise.race([minio.exited, once(signal, 'abort')]);
    if (signal.aborted) return;
    progress(`MinIO is gone; it comes back in ${MINIO_AWAY_MS / 1_000} s`);
    await systemClock.sleep(MINIO_AWAY_MS, signal);
    const { port, rootUser, rootPassword } = minio;
    minio = cleanUp.use(await startMinio({ dir: STATE, port, rootUser, rootPassword, signal }));
    progress(`MinIO is back, as process ${minio.pid}`);
  }
}

async function expectToStay({ name, exited, logFile }: RunningServer): Promise<never> {
  await exited;
  throw new Error(`${name} ended by itself; its log is ${logFile}`);
}

/** Removes what lies in the demo's folder and is `chosen`; its lock stays. */
async function clearState(chosen: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(STATE)) {
    if (!name.startsWith(LOCK) && chosen(name)) await rm(join(STATE, name), { recursive: true, force: true });
  }
}

/** A path as the user of this checkout types it. */
function shown(path: string): string {
  return relative(ROOT, path);
}

function refuse(holder: number): never {
  throw new Error(`process ${holder} runs the demo already`);
}
