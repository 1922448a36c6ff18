import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { exportKubeconfig, hasCluster, makeCluster, reachCluster } from '../../deploy/kind/cluster.ts';
import { buildImage, installRelease, loadImages } from '../../deploy/kind/release.ts';
import { startListening } from './background.ts';
import { DEMO, INSTALL_DEADLINE, NAMESPACES_FILE, operatorRelease } from './releases.ts';

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

/** A cluster of that name that is there already is used, and stays. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using started = new AsyncDisposableStack();
  const signal = AbortSignal.timeout(SETUP_MS);
  const progress = console.error;
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-e2e-')));
  const kubeconfigFile = join(dir, 'kubeconfig');
  const way = { name: NAME, kubeconfigFile, signal, progress };
  const isNew = !(await hasCluster(way));
  if (isNew) await makeCluster({ ...way, configFile: join(import.meta.dirname, 'cluster.yaml') });
  else await exportKubeconfig(way);
  const cluster = await reachCluster(way);
  if (isNew) started.defer(() => cluster.delete());

  const imageTag = await buildImage({ signal, progress });
  await loadImages(cluster, [operatorRelease(imageTag), DEMO], { signal, progress });
  await cluster.kubectl(['apply', `--filename=${NAMESPACES_FILE}`]);
  progress('installing MinIO, Collector and Jaeger');
  await installRelease(cluster, DEMO, INSTALL_DEADLINE);
  const { address } = started.use(await startListening('proxy', ...cluster.kubectlFlags, '--port=0'));
  project.provide('stack', { cluster: NAME, kubeconfigFile, imageTag, apiUrl: `http://${address}` });
  const stop = started.move();
  return () => stop.disposeAsync();
}
