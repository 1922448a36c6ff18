import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { exportKubeconfig, hasCluster, createCluster, connectCluster } from '../../deploy/kind/cluster.ts';
import { buildImage, installRelease, loadImages } from '../../deploy/kind/release.ts';
import { startKubectlListener } from './kubectl-listener.ts';
import { DEMO, INSTALL_DEADLINE, NAMESPACES_FILE, operatorRelease } from './releases.ts';

/** Shared by all tests: a cluster with the demo's MinIO, Collector and Jaeger, but without the operator. */
export interface Stack {
  readonly cluster: string;
  readonly kubeconfigFile: string;
  /** Tag of the operator's image on the node. */
  readonly imageTag: string;
  /** URL of a proxy to the API server that authenticates as the admin. */
  readonly apiUrl: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    stack: Stack;
  }
}

const NAME = 'storage-probe-e2e';
const SETUP_MS = 900_000;

/** Uses an existing cluster named {@link NAME} and keeps it. Otherwise creates a cluster and deletes it afterwards. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using started = new AsyncDisposableStack();
  const signal = AbortSignal.timeout(SETUP_MS);
  const progress = console.error;
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-e2e-')));
  const kubeconfigFile = join(dir, 'kubeconfig');
  const options = { name: NAME, kubeconfigFile, signal, progress };
  const isNew = !(await hasCluster(options));
  if (isNew) await createCluster({ ...options, configFile: join(import.meta.dirname, 'cluster.yaml') });
  else await exportKubeconfig(options);
  const cluster = await connectCluster(options);
  if (isNew) started.defer(() => cluster.delete());

  const imageTag = await buildImage({ signal, progress });
  await loadImages(cluster, [operatorRelease(imageTag), DEMO], { signal, progress });
  await cluster.kubectl(['apply', `--filename=${NAMESPACES_FILE}`]);
  progress('installing MinIO, Collector and Jaeger');
  await installRelease(cluster, DEMO, INSTALL_DEADLINE);
  const { address } = started.use(await startKubectlListener('proxy', ...cluster.kubectlFlags, '--port=0'));
  project.provide('stack', { cluster: NAME, kubeconfigFile, imageTag, apiUrl: `http://${address}` });
  const stop = started.move();
  return () => stop.disposeAsync();
}
