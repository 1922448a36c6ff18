/**
 * `make demo-kind`: the whole product on a kind cluster of its own, from this checkout's image and charts. Run again, it
 * brings the cluster up to date. The cluster stays until `make demo-kind-down`. Exit code 1 when anything fails, a probe
 * does not get Healthy, or a trace does not arrive.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { RUN_REQUEST_ANNOTATION } from '../../src/api/probe-status.ts';
import { stopSignal } from '../local/child.ts';
import { chartPath } from '../local/helm.ts';
import { LiveText } from '../local/live-text.ts';
import { type ProbeSource, STORAGE_PROBES_PATH, watchProbes } from '../local/watch-probes.ts';
import { type Cluster, exportKubeconfig, hasCluster, makeCluster, reachCluster } from './cluster.ts';
import { buildImage, installRelease, loadImages, type Release } from './release.ts';

const NAME = 'storage-probe';

/** As cluster.yaml maps them. */
const JAEGER_URL = 'http://127.0.0.1:16686';
const CONSOLE_URL = 'http://127.0.0.1:9001';
const OPERATOR_URL = 'http://127.0.0.1:8080';

const PROBES = 2;
/** Of these, the one that is spoken of. */
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
  const way = { name: NAME, signal, progress };
  if (await hasCluster(way)) {
    progress(`the cluster ${NAME} is there`);
    await exportKubeconfig(way);
  } else {
    for (const url of [JAEGER_URL, CONSOLE_URL, OPERATOR_URL]) await expectFree(url);
    await makeCluster({ ...way, configFile: here('cluster.yaml') });
  }
  const cluster = await reachCluster(way);
  const tag = await buildImage({ signal, progress });
  // The probes of the second need the CustomResourceDefinition of the first.
  const releases: readonly Release[] = [
    {
      name: 'storage-probe',
      namespace: 'storage-probe',
      chart: chartPath('storage-probe'),
      valuesFile: here('storage-probe.yaml'),
      values: { image: { tag } },
    },
    {
      name: 'demo',
      namespace: 'storage',
      chart: chartPath('storage-probe-demo'),
      valuesFile: here('demo.yaml'),
    },
  ];
  await loadImages(cluster, releases, { signal, progress });
  await cluster.kubectl(['apply', `--filename=${here('namespaces.yaml')}`]);
  for (const release of releases) {
    progress(`installing ${release.name}`);
    await installRelease(cluster, release);
  }

  progress('all Pods are ready; this is kubectl get sprobe -A:\n');
  const probes = await watchProbes({
    source: askingBy(cluster),
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

/** @throws Error when somebody listens there already, which kind would tell at length. */
async function expectFree(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const server = createServer();
  try {
    await once(server.listen(Number(port), hostname), 'listening');
  } catch (error) {
    throw new Error(
      `port ${port} of ${hostname} is taken: free it, or change it in deploy/kind/cluster.yaml and demo.ts`,
      { cause: error },
    );
  } finally {
    server.close();
  }
}

function askingBy(cluster: Cluster): ProbeSource {
  return {
    list: async () => JSON.parse(await cluster.kubectl(['get', '--raw', STORAGE_PROBES_PATH])),
    table: async () => (await cluster.kubectl(['get', 'storageprobes', '--all-namespaces'])).trimEnd(),
  };
}

function here(file: string): string {
  return join(import.meta.dirname, file);
}

function whatNext(lastTrace: string): string {
  return `Jaeger    ${JAEGER_URL}, the last trace of my-minio ${JAEGER_URL}/trace/${lastTrace}
MinIO     ${CONSOLE_URL} (user admin; its password: kubectl -n storage get secret demo-minio -o go-template='{{.data.rootPassword | base64decode}}')
Operator  ${OPERATOR_URL}/metrics

Next:
  kubectl config use-context kind-${NAME}
  kubectl get sprobe -A -o wide -w
  kubectl -n storage describe sprobe ${PROBE}
  kubectl -n storage annotate sprobe ${PROBE} --overwrite ${RUN_REQUEST_ANNOTATION}="$(date)"
  make demo-kind-down`;
}
