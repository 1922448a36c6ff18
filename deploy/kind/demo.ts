/**
 * `make demo-kind`: installs the whole product in a dedicated kind cluster, using the image and charts from this
 * checkout. Running it again upgrades the releases in that cluster. The cluster stays until `make demo-kind-down`.
 * Exits with 1 if a step fails, a probe does not become Healthy, or a trace does not arrive.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { RUN_REQUEST_ANNOTATION } from '../../src/api/probe-status.ts';
import { stopSignal } from '../local/child.ts';
import { chartPath } from '../local/helm.ts';
import { LiveText } from '../local/live-text.ts';
import { type ProbeSource, STORAGE_PROBES_PATH, watchProbes } from '../local/watch-probes.ts';
import { type Cluster, exportKubeconfig, hasCluster, createCluster, connectCluster } from './cluster.ts';
import { buildImage, installRelease, loadImages, type Release } from './release.ts';

const NAME = 'storage-probe';

/** These ports are mapped in cluster.yaml. */
const JAEGER_URL = 'http://127.0.0.1:16686';
const CONSOLE_URL = 'http://127.0.0.1:9001';
const OPERATOR_URL = 'http://127.0.0.1:8080';

const PROBES = 2;
/** The probe used in the example commands. */
const PROBE = 'demo-my-minio';
const RUNS = 6;
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
  const clusterOptions = { name: NAME, signal, progress };
  if (await hasCluster(clusterOptions)) {
    progress(`using the existing cluster ${NAME}`);
    await exportKubeconfig(clusterOptions);
  } else {
    for (const url of [JAEGER_URL, CONSOLE_URL, OPERATOR_URL]) await expectPortFree(url);
    await createCluster({ ...clusterOptions, configFile: inThisFolder('cluster.yaml') });
  }
  const cluster = await connectCluster(clusterOptions);
  const tag = await buildImage({ signal, progress });
  // The order matters: the demo's probes need the operator's CustomResourceDefinition.
  const releases: readonly Release[] = [
    {
      name: 'storage-probe',
      namespace: 'storage-probe',
      chart: chartPath('storage-probe'),
      valuesFile: inThisFolder('storage-probe.yaml'),
      values: { image: { tag } },
    },
    {
      name: 'demo',
      namespace: 'storage',
      chart: chartPath('storage-probe-demo'),
      valuesFile: inThisFolder('demo.yaml'),
    },
  ];
  await loadImages(cluster, releases, { signal, progress });
  await cluster.kubectl(['apply', `--filename=${inThisFolder('namespaces.yaml')}`]);
  for (const release of releases) {
    progress(`installing ${release.name}`);
    await installRelease(cluster, release);
  }

  progress('all Pods are ready. Output of kubectl get sprobe -A:\n');
  const probes = await watchProbes({
    source: kubectlSource(cluster),
    queryUrl: JAEGER_URL,
    live: new LiveText(process.stdout),
    probes: PROBES,
    runs: RUNS,
    deadlineMs: HEALTHY_DEADLINE_MS,
    pollMs: POLL_MS,
    signal,
  });
  progress(`all probes are Healthy, and their ${PROBES * RUNS} traces are in Jaeger\n`);
  const lastTrace = probes.find(({ name }) => name === PROBE)?.passed[0]?.[0] ?? '';
  console.log(nextSteps(lastTrace));
}

/** @throws Error if the port is in use. kind's own message for this is long and unclear. */
async function expectPortFree(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const server = createServer();
  try {
    await once(server.listen(Number(port), hostname), 'listening');
  } catch (error) {
    throw new Error(
      `port ${port} on ${hostname} is in use: free it, or change it in deploy/kind/cluster.yaml and demo.ts`,
      { cause: error },
    );
  } finally {
    server.close();
  }
}

function kubectlSource(cluster: Cluster): ProbeSource {
  return {
    list: async () => JSON.parse(await cluster.kubectl(['get', '--raw', STORAGE_PROBES_PATH])),
    table: async () => (await cluster.kubectl(['get', 'storageprobes', '--all-namespaces'])).trimEnd(),
  };
}

function inThisFolder(file: string): string {
  return join(import.meta.dirname, file);
}

function nextSteps(lastTrace: string): string {
  return `Jaeger    ${JAEGER_URL}, the last trace of my-minio ${JAEGER_URL}/trace/${lastTrace}
MinIO     ${CONSOLE_URL} (user admin; password: kubectl -n storage get secret demo-minio -o go-template='{{.data.rootPassword | base64decode}}')
Operator  ${OPERATOR_URL}/metrics

Next:
  kubectl config use-context kind-${NAME}
  kubectl get sprobe -A -o wide -w
  kubectl -n storage describe sprobe ${PROBE}
  kubectl -n storage annotate sprobe ${PROBE} --overwrite ${RUN_REQUEST_ANNOTATION}="$(date)"
  make demo-kind-down`;
}
