import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestProject } from 'vitest/node';

import { type Cluster, makeCluster, reachCluster } from '../../deploy/kind/cluster.ts';
import { buildImage, installRelease, loadImages, type Release } from '../../deploy/kind/release.ts';
import { getBinary } from '../../deploy/local/binary.ts';
import { type Child, spawnChild } from '../../deploy/local/child.ts';
import { chartPath } from '../../deploy/local/helm.ts';

/** What all tests share: a cluster with the demo's MinIO, Collector and Jaeger, and without the operator. */
export interface Stack {
  readonly cluster: string;
  readonly kubeconfigFile: string;
  /** Of the operator's image, on the node. */
  readonly imageTag: string;
  /** Where the API server answers, as to the admin. */
  readonly apiUrl: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    stack: Stack;
  }
}

const NAME = 'storage-probe-e2e';
const SETUP_MS = 900_000;
/** Its probes need the CustomResourceDefinition, which comes with the operator. */
const DEMO: Release = {
  name: 'demo',
  namespace: 'storage',
  chart: chartPath('storage-probe-demo'),
  values: { probes: { enabled: false } },
};

/** A cluster of that name that is there already is used, and stays. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using started = new AsyncDisposableStack();
  const signal = AbortSignal.timeout(SETUP_MS);
  const progress = console.error;
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-e2e-')));
  const way = { name: NAME, kubeconfigFile: join(dir, 'kubeconfig'), progress };
  const isNew = await makeCluster({ ...way, configFile: join(import.meta.dirname, 'cluster.yaml'), signal });
  const cluster = await reachCluster({ ...way, signal });
  if (isNew) {
    const atTheEnd = await reachCluster({ ...way, signal: new AbortController().signal });
    started.defer(() => atTheEnd.delete());
  }

  const imageTag = await buildImage({ signal, progress });
  const operator: Release = {
    name: 'storage-probe',
    namespace: 'storage-probe',
    chart: chartPath('storage-probe'),
    values: { image: { tag: imageTag } },
  };
  await loadImages(cluster, [operator, DEMO], { signal, progress });
  const namespaces = join(import.meta.dirname, '../../deploy/kind/namespaces.yaml');
  await cluster.kubectl(['apply', `--filename=${namespaces}`]);
  progress('installing MinIO, Collector and Jaeger');
  await installRelease(cluster, DEMO);
  const { proxy, url } = await startProxy(cluster, signal);
  started.defer(() => proxy.stop());
  project.provide('stack', {
    cluster: NAME,
    kubeconfigFile: way.kubeconfigFile,
    imageTag,
    apiUrl: url,
  });
  const stop = started.move();
  return () => stop.disposeAsync();
}

async function startProxy(
  { kubectlFlags }: Cluster,
  signal: AbortSignal,
): Promise<{ proxy: Child; url: string }> {
  const proxy = await spawnChild(await getBinary('kubectl'), ['proxy', ...kubectlFlags, '--port=0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { stdout } = proxy.process;
  if (stdout === null) throw new Error('kubectl proxy has no stdout');
  const [line] = (await once(createInterface({ input: stdout }), 'line', { signal })) as [string];
  return { proxy, url: `http://${line.replace('Starting to serve on ', '')}` };
}
