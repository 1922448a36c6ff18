import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { exportKubeconfig, hasCluster, makeCluster, reachCluster } from '../../deploy/kind/cluster.ts';
import { buildImage, installRelease, loadImages, type Release } from '../../deploy/kind/release.ts';
import { chartPath } from '../../deploy/local/helm.ts';
import { startListening } from './background.ts';

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
  const progress = console.error;
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-e2e-')));
  const kubeconfigFile = join(dir, 'kubeconfig');
  const way = { name: NAME, kubeconfigFile, progress };
  const isNew = !(await hasCluster(way));
  if (isNew) await makeCluster({ ...way, configFile: join(import.meta.dirname, 'cluster.yaml') });
  else await exportKubeconfig(way);
  const cluster = await reachCluster(way);
  if (isNew) started.defer(() => cluster.delete());

  const imageTag = await buildImage({ progress });
  const operator: Release = {
    name: 'storage-probe',
    namespace: 'storage-probe',
    chart: chartPath('storage-probe'),
    values: { image: { tag: imageTag } },
  };
  await loadImages(cluster, [operator, DEMO], { progress });
  const namespaces = join(import.meta.dirname, '../../deploy/kind/namespaces.yaml');
  await cluster.kubectl(['apply', `--filename=${namespaces}`]);
  progress('installing MinIO, Collector and Jaeger');
  await installRelease(cluster, DEMO);
  const { address } = started.use(await startListening('proxy', ...cluster.kubectlFlags, '--port=0'));
  project.provide('stack', { cluster: NAME, kubeconfigFile, imageTag, apiUrl: `http://${address}` });
  const stop = started.move();
  return () => stop.disposeAsync();
}
