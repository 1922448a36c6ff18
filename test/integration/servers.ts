import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { getBinary } from '../../deploy/local/binary.ts';
import { OPERATOR, startControlPlane, type KubeAccess } from '../../deploy/local/control-plane.ts';
import { startCollector, startJaeger } from '../../deploy/local/jaeger.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { makeMinioUser, startMinio, type MinioUser } from '../../deploy/local/minio.ts';

/** The servers that all tests share, and stop or slow down in no way. */
export interface SharedServers {
  readonly store: Store;
  /** May do what the documented policy allows, and nothing else. */
  readonly user: MinioUser;
  readonly jaegerUrl: string;
  /** Of Jaeger itself, for a Collector that a test starts. */
  readonly jaegerOtlpUrl: string;
  readonly collectorGrpcUrl: string;
  readonly collectorHttpUrl: string;
  /** Knows StorageProbes and the operator's rights; each test makes namespaces of its own. */
  readonly kube: SharedKube;
}

export interface SharedKube extends KubeAccess {
  /** Of the admin. */
  readonly kubeconfigFile: string;
  /** Of a user who has the operator's rights, and no others. */
  readonly operatorKubeconfigFile: string;
}

/** A MinIO, and who may do everything there. */
export interface Store {
  readonly url: string;
  readonly rootUser: string;
  readonly rootPassword: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: SharedServers;
  }
}

const DEPLOY = new URL('../../deploy/', import.meta.url);
const POLICY = new URL('local/minio/probe-policy.json', DEPLOY).pathname;

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using started = new AsyncDisposableStack();
  const progress = console.error;
  for (const name of ['minio', 'mc', 'jaeger', 'etcd', 'kube-apiserver', 'helm', 'promtool'] as const)
    await getBinary(name, { progress });

  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-servers-')));
  async function keep<T extends AsyncDisposable>(starting: Promise<T>): Promise<T> {
    return started.use(await starting);
  }
  async function startTelemetry(): Promise<Omit<SharedServers, 'store' | 'user' | 'kube'>> {
    const jaeger = await keep(startJaeger({ dir: join(dir, 'jaeger') }));
    const backendUrl = jaeger.otlpGrpcUrl;
    const collector = await keep(startCollector({ dir: join(dir, 'collector'), backendUrl }));
    return {
      jaegerUrl: jaeger.queryUrl,
      jaegerOtlpUrl: jaeger.otlpGrpcUrl,
      collectorGrpcUrl: collector.otlpGrpcUrl,
      collectorHttpUrl: collector.otlpHttpUrl,
    };
  }
  const starting = [
    keep(startMinio({ dir: join(dir, 'minio') })),
    startTelemetry(),
    keep(startControlPlane({ dir: join(dir, 'control-plane') })),
  ] as const;
  // When one fails, the others are stopped, too, once they have started.
  await Promise.allSettled(starting);
  const [minio, telemetry, controlPlane] = await Promise.all(starting);
  const { url, rootUser, rootPassword } = minio;
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml'])
    await applyManifests(controlPlane, await readFile(new URL(file, DEPLOY), 'utf8'));
  const { url: kubeUrl, caPem, tokens, kubeconfigFile } = controlPlane;
  const operatorKubeconfigFile = await controlPlane.kubeconfigFor(OPERATOR);
  project.provide('servers', {
    ...telemetry,
    store: { url, rootUser, rootPassword },
    user: await makeMinioUser(minio, POLICY),
    kube: { url: kubeUrl, caPem, tokens, kubeconfigFile, operatorKubeconfigFile },
  });

  const stop = started.move();
  return () => stop.disposeAsync();
}
