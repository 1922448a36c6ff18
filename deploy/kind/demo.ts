/**
 * `make demo-kind`: the whole product on a kind cluster of its own, from this checkout's image and charts. Run again, it
 * brings the cluster up to date. The cluster stays until `make demo-kind-down`. Exit code 1 when anything fails, a probe
 * does not get Healthy, or a trace does not arrive.
 */
import { join } from 'node:path';

import { RUN_REQUEST_ANNOTATION } from '../../src/api/probe-status.ts';
import { getBinary } from '../local/binary.ts';
import { stopSignal } from '../local/child.ts';
import { LiveText } from '../local/live-text.ts';
import { type ProbeSource, STORAGE_PROBES_PATH, watchProbes } from '../local/watch-probes.ts';
import { runCommand } from './command.ts';

const ROOT = join(import.meta.dirname, '../..');
const KIND = 'deploy/kind';
const CLUSTER = 'storage-probe';
const CONTEXT = `kind-${CLUSTER}`;
/** As charts/storage-probe names it. */
const IMAGE = 'ghcr.io/storageprobe/storage-probe';

interface Release {
  /** Its values stand in `deploy/kind/<name>.yaml`. */
  readonly name: string;
  readonly chart: string;
  readonly namespace: string;
  /** On top, as for `--set`. */
  readonly values?: readonly string[];
}

/** As cluster.yaml maps them. */
const JAEGER_URL = 'http://127.0.0.1:16686';
const CONSOLE_URL = 'http://127.0.0.1:9001';
const OPERATOR_URL = 'http://127.0.0.1:8080';

const PROBES = 2;
/** Of these, the one that is spoken of. */
const PROBE = 'demo-my-minio';
const RUNS = 6;
const INSTALL_DEADLINE = '10m';
const HEALTHY_DEADLINE_MS = 180_000;
const POLL_MS = 1_000;

const signal = stopSignal();
try {
  await demo();
} catch (error) {
  if (!signal.aborted) console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

function progress(line: string): void {
  console.log(`· ${line}`);
}

async function demo(): Promise<void> {
  const helm = await getBinary('helm', { signal, progress });
  const kubectl = await getBinary('kubectl', { signal, progress });

  await createCluster();
  const tag = await buildImage();
  const releases: readonly Release[] = [
    {
      name: 'storage-probe',
      chart: 'storage-probe',
      namespace: 'storage-probe',
      values: [`image.tag=${tag}`],
    },
    // Its probes need the CustomResourceDefinition that the operator's chart brings.
    { name: 'demo', chart: 'storage-probe-demo', namespace: 'storage' },
  ];
  await loadImages(helm, releases);
  await run(kubectl, ['apply', `--context=${CONTEXT}`, `--filename=${KIND}/namespaces.yaml`]);
  for (const release of releases) await install(helm, release);

  progress('all Pods are ready; this is kubectl get sprobe -A:\n');
  const probes = await watchProbes({
    source: askingBy(kubectl),
    queryUrl: JAEGER_URL,
    live: new LiveText(process.stdout),
    probes: PROBES,
    runs: RUNS,
    deadlineMs: HEALTHY_DEADLINE_MS,
    pollMs: POLL_MS,
    signal,
  });
  progress(`all are Healthy, and their ${PROBES * RUNS} traces stand in Jaeger\n`);
  const lastTrace = probes.find(({ name }) => name === PROBE)?.passed[0]?.[0] ?? '';
  console.log(whatNext(lastTrace));
}

/** Returns its tag: another one for another content, so that an upgrade replaces the Pods. */
async function buildImage(): Promise<string> {
  progress('building the image');
  await run('make', ['image', `IMAGE=${IMAGE}:latest`]);
  const id = await run('docker', ['image', 'inspect', '--format={{.Id}}', `${IMAGE}:latest`]);
  const tag = id.trim().replace('sha256:', '').slice(0, 12);
  await run('docker', ['tag', `${IMAGE}:latest`, `${IMAGE}:${tag}`]);
  return tag;
}

async function createCluster(): Promise<void> {
  const clusters = await run('kind', ['get', 'clusters']);
  if (clusters.split('\n').includes(CLUSTER)) return progress(`the cluster ${CLUSTER} is there`);
  progress(`creating the cluster ${CLUSTER}`);
  await run('kind', ['create', 'cluster', `--config=${KIND}/cluster.yaml`, '--wait=180s']);
}

/** What the engine has, the node need not pull. */
async function loadImages(helm: string, releases: readonly Release[]): Promise<void> {
  const rendered = await Promise.all(
    releases.map((release) => run(helm, ['template', ...chartArguments(release)])),
  );
  const named = rendered.join('\n').matchAll(/^\s*(?:- )?image: "?([^"\s]+)"?$/gm);
  const images = new Set([...named].map(([, image = '']) => image));
  for (const image of images) {
    if (!(await isInEngine(image))) progress(`${image} is not here: the cluster pulls it`);
    else {
      progress(`loading ${image}`);
      await run('kind', ['load', 'docker-image', `--name=${CLUSTER}`, image]);
    }
  }
}

async function isInEngine(image: string): Promise<boolean> {
  try {
    await run('docker', ['image', 'inspect', image]);
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

async function install(helm: string, release: Release): Promise<void> {
  progress(`installing charts/${release.chart}`);
  await run(helm, [
    'upgrade',
    '--install',
    ...chartArguments(release),
    `--kube-context=${CONTEXT}`,
    '--wait',
    `--timeout=${INSTALL_DEADLINE}`,
  ]);
}

function chartArguments({ name, chart, namespace, values = [] }: Release): string[] {
  return [
    name,
    `charts/${chart}`,
    `--namespace=${namespace}`,
    `--values=${KIND}/${name}.yaml`,
    ...values.map((value) => `--set=${value}`),
  ];
}

function askingBy(kubectl: string): ProbeSource {
  const get = (...args: readonly string[]) => run(kubectl, ['get', `--context=${CONTEXT}`, ...args]);
  return {
    list: async () => JSON.parse(await get('--raw', STORAGE_PROBES_PATH)),
    table: async () => (await get('storageprobes', '--all-namespaces')).trimEnd(),
  };
}

function run(command: string, args: readonly string[]): Promise<string> {
  return runCommand(command, args, { signal, progress, cwd: ROOT });
}

function whatNext(lastTrace: string): string {
  return `Jaeger    ${JAEGER_URL}, the last trace of my-minio ${JAEGER_URL}/trace/${lastTrace}
MinIO     ${CONSOLE_URL} (user admin; its password: kubectl -n storage get secret demo-minio -o go-template='{{.data.rootPassword | base64decode}}')
Operator  ${OPERATOR_URL}/metrics

Next:
  kubectl config use-context ${CONTEXT}
  kubectl get sprobe -A -o wide -w
  kubectl -n storage describe sprobe ${PROBE}
  kubectl -n storage annotate sprobe ${PROBE} --overwrite ${RUN_REQUEST_ANNOTATION}="$(date)"
  make demo-kind-down`;
}
