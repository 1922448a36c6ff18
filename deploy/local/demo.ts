/**
 * `make demo-local`: the whole product on this machine, without containers. It stays up until Ctrl-C; with
 * `DEMO_EXIT=1` it ends by itself. Exit code 1 when anything fails or a trace does not arrive.
 */
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';

import { systemClock } from '../../src/clock/system-clock.ts';
import { getBinary } from './binary.ts';
import { spawnChild, stopSignal, untilEnded } from './child.ts';
import { envFile, withEndpoint } from './demo-files.ts';
import { startCollector, startJaeger } from './jaeger.ts';
import { withLock } from './lock.ts';
import { makeMinioUser, startMinio } from './minio.ts';
import type { RunningServer } from './running-server.ts';
import { SERVERS } from './servers.ts';
import { findTraces } from './traces.ts';

const RUNS = 6;
/** The run and its six steps; their calls come on top. */
const SPANS_AT_LEAST = 7;
const ARRIVAL_DEADLINE_MS = 15_000;
const POLL_MS = 250;

const ROOT = join(import.meta.dirname, '../..');
const STATE = join(ROOT, '.demo');
const ADDRESSES = join(STATE, 'addresses.env');
const CREDENTIALS = join(STATE, 'probe-credentials.env');
const PROBE = join(STATE, 'my-minio.yaml');
const FLAGS = [
  `--filename=${relative(ROOT, PROBE)}`,
  `--secret=my-minio-probe=${relative(ROOT, CREDENTIALS)}`,
];

const stopping = stopSignal();
try {
  await mkdir(STATE, { recursive: true });
  await withLock(join(STATE, 'lock'), { onTaken: refuse }, () => demo(stopping));
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
  await remove('minio.log', 'jaeger.log', 'collector.log');
  cleanUp.defer(() => remove('data', ADDRESSES, CREDENTIALS, PROBE));

  const minio = cleanUp.use(await startMinio({ dir: STATE, signal, progress }));
  const policy = join(import.meta.dirname, 'minio/probe-policy.json');
  const user = await makeMinioUser(minio, policy, { signal, progress });
  const sample = await readFile(join(ROOT, 'deploy/samples/my-minio.yaml'), 'utf8');
  await writeFile(PROBE, withEndpoint(sample, minio.url));
  await writeFile(CREDENTIALS, envFile({ ...user }), { mode: 0o600 });

  const giveUp = new AbortController();
  const building = getBinary('jaeger', { signal: AbortSignal.any([signal, giveUp.signal]), progress });
  const built = building.catch(() => undefined);
  cleanUp.defer(async () => {
    giveUp.abort();
    await built;
  });
  progress(`MinIO is up at ${minio.url}; a first run, not yet sent anywhere:\n`);
  await runProbe(['--exporter=none'], {}, signal);
  await building;

  const jaeger = cleanUp.use(await startJaeger({ dir: STATE, signal }));
  const collector = cleanUp.use(await startCollector({ dir: STATE, backendUrl: jaeger.otlpGrpcUrl, signal }));
  const addresses = { MINIO_URL: minio.url, JAEGER_URL: jaeger.queryUrl, OTLP_URL: collector.otlpGrpcUrl };
  await writeFile(ADDRESSES, envFile(addresses));

  progress(`Jaeger and the Collector are up; ${RUNS} runs, sent to the Collector:\n`);
  await runProbe(
    [`--count=${RUNS}`, '--every=500ms', '--exporter=otlp', `--jaeger-url=${jaeger.queryUrl}`],
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.otlpGrpcUrl },
    signal,
  );
  await expectTraces(jaeger.queryUrl, signal);
  progress(`all ${RUNS} traces stand in Jaeger\n`);
  console.log(`MinIO    ${minio.url}, console ${minio.consoleUrl} (keys in ${relative(ROOT, CREDENTIALS)})
Jaeger   ${jaeger.queryUrl}, a trace ${jaeger.queryUrl}/api/traces/<id>${await noteOnPage(jaeger.queryUrl)}
OTLP     ${collector.otlpGrpcUrl} by gRPC, ${collector.otlpHttpUrl} by HTTP

One more run:
  . ${relative(ROOT, ADDRESSES)}
  OTEL_EXPORTER_OTLP_ENDPOINT=$OTLP_URL bin/storage-probe run ${FLAGS.join(' ')} --jaeger-url=$JAEGER_URL`);
  if (process.env['DEMO_EXIT'] === '1') return;

  console.log('\nCtrl-C stops everything.');
  await Promise.race([once(signal, 'abort'), ...[minio, jaeger, collector].map(expectToStay)]);
}

/** Runs the command line as a user would, with its output on this terminal. */
async function runProbe(
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  // What the user's shell says about telemetry is meant for other programs.
  const own = Object.entries(process.env).filter(([key]) => !key.startsWith('OTEL_'));
  const child = await spawnChild(process.execPath, ['src/main.ts', 'run', ...FLAGS, ...flags], {
    cwd: ROOT,
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const { code } = await untilEnded(child, signal);
  console.log();
  if (code !== 0) throw new Error(`the probe ended with exit code ${code}`);
}

/** Jaeger is new, so that it holds no traces but the demo's. */
async function expectTraces(queryUrl: string, signal: AbortSignal): Promise<void> {
  const deadline = AbortSignal.timeout(ARRIVAL_DEADLINE_MS);
  const waiting = AbortSignal.any([signal, deadline]);
  let arrived = 0;
  try {
    while (arrived < RUNS) {
      await systemClock.sleep(POLL_MS, waiting);
      const traces = await findTraces(queryUrl, 'my-minio', { signal: waiting });
      arrived = traces.filter(({ spans }) => spans.length >= SPANS_AT_LEAST).length;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
    throw new Error(`${arrived} of ${RUNS} traces stand in Jaeger`, { cause: error });
  }
}

/** Jaeger's page is not part of its Go module, but of its releases. */
async function noteOnPage(queryUrl: string): Promise<string> {
  const page = await fetch(queryUrl);
  if (!(await page.text()).includes('not the Jaeger UI')) return '';
  const { variable, image } = SERVERS.jaeger;
  return `\n         (without its page, which only releases have: set ${variable} to one, or take it from ${image})`;
}

async function expectToStay({ name, exited, logFile }: RunningServer): Promise<void> {
  await exited;
  throw new Error(`${name} ended by itself; its log is ${logFile}`);
}

async function remove(...names: readonly string[]): Promise<void> {
  for (const name of names) await rm(resolve(STATE, name), { recursive: true, force: true });
}

function refuse(holder: number): never {
  throw new Error(`process ${holder} runs the demo already`);
}
