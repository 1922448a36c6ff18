import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { getBinary, whyMissing } from '../../deploy/local/binary.ts';
import { OPERATOR, startControlPlane, type KubeAccess } from '../../deploy/local/control-plane.ts';
import { startCollector, startJaeger } from '../../deploy/local/jaeger.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { createMinioUser, startMinio, type MinioUser } from '../../deploy/local/minio.ts';

/** Servers shared by all tests. A test must not stop them or slow them down. */
export interface SharedServers {
  readonly store: Store;
  /** User with exactly the rights of the documented policy. */
  readonly user: MinioUser;
  readonly jaegerUrl: string;
  /** OTLP endpoint of Jaeger, for a Collector started by a test. */
  readonly jaegerOtlpUrl: string;
  readonly collectorGrpcUrl: string;
  readonly collectorHttpUrl: string;
  /** Control plane with the CRD and the operator's RBAC rules. Each test creates its own namespaces. */
  readonly kube: SharedKube;
}

export interface SharedKube extends KubeAccess {
  /** Kubeconfig of the admin. */
  readonly kubeconfigFile: string;
  /** Kubeconfig of a user with only the operator's rights. */
  readonly operatorKubeconfigFile: string;
}

/** A store and its root credentials. */
export interface Store {
  readonly url: string;
  /** Default: us-east-1. */
  readonly region?: string;
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
  // Tests that need one of these are skipped if this machine cannot have it.
  for (const name of ['versitygw', 'caddy'] as const)
    if ((await whyMissing(name)) === undefined) await getBinary(name, { progress });

  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-servers-')));
  async function register<T extends AsyncDisposable>(starting: Promise<T>): Promise<T> {
    return started.use(await starting);
  }
  async function startTelemetry(): Promise<Omit<SharedServers, 'store' | 'user' | 'kube'>> {
    const jaeger = await register(startJaeger({ dir: join(dir, 'jaeger') }));
    const backendUrl = jaeger.otlpGrpcUrl;
    const collector = await register(startCollector({ dir: join(dir, 'collector'), backendUrl }));
    return {
      jaegerUrl: jaeger.queryUrl,
      jaegerOtlpUrl: jaeger.otlpGrpcUrl,
      collectorGrpcUrl: collector.otlpGrpcUrl,
      collectorHttpUrl: collector.otlpHttpUrl,
    };
  }
  const starting = [
    register(startMinio({ dir: join(dir, 'minio') })),
    startTelemetry(),
    register(startControlPlane({ dir: join(dir, 'control-plane') })),
  ] as const;
  // If one server fails to start, waits for the others so that they are stopped.
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
    user: await createMinioUser(minio, POLICY),
    kube: { url: kubeUrl, caPem, tokens, kubeconfigFile, operatorKubeconfigFile },
  });

  const stop = started.move();
  return () => stop.disposeAsync();
}
