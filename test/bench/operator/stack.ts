import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import PQueue from 'p-queue';

import { OPERATOR, startControlPlane } from '../../../deploy/local/control-plane.ts';
import { startCollector, startJaeger } from '../../../deploy/local/jaeger.ts';
import { applyManifests, createNamespace } from '../../../deploy/local/kube-apply.ts';
import { createMinioUser, startMinio } from '../../../deploy/local/minio.ts';
import { API_VERSION, KIND, STORAGE_PROBES } from '../../../src/api/storage-probe.ts';
import { systemClock } from '../../../src/clock/system-clock.ts';
import { HttpKubeClient } from '../../../src/kube/http-kube-client.ts';
import { loadKubeConfig } from '../../../src/kube/kube-config.ts';
import { type KubeObject, objectKey, resourcePath } from '../../../src/kube/objects.ts';
import { createObject } from '../../../src/kube/resources.ts';
import { OBJECT_BYTES } from '../contenders/settings.ts';

/** The real servers that the operator needs. */
export interface Stack extends AsyncDisposable {
  readonly operatorKubeconfigFile: string;
  readonly collectorUrl: string;
  /** Creates probes of the same store, spread over {@link NAMESPACES}. Each probe's target has the probe's name. */
  createProbes(prefix: string, count: number, interval: string): Promise<Probe[]>;
  /** Deletes all probes. */
  deleteProbes(): Promise<void>;
}

export interface Probe {
  /** `namespace/name` */
  readonly key: string;
  readonly uid: string;
}

/** Each namespace has its own Secret. */
const NAMESPACES = Array.from({ length: 10 }, (_, i) => `bench-${i}`);
const SECRET = 'my-minio-probe';
const MAX_CONCURRENT_REQUESTS = 8;
const DELETE_TIMEOUT_MS = 120_000;
const DEPLOY = new URL('../../../deploy/', import.meta.url);
const NEVER = new AbortController().signal;

/** Starts the servers, with their data in a temporary folder that is deleted with the stack. */
export async function startStack(): Promise<Stack> {
  await using started = new AsyncDisposableStack();
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-bench-')));
  const progress = console.error;
  const controlPlane = started.use(await startControlPlane({ dir: join(dir, 'control-plane'), progress }));
  const minio = started.use(await startMinio({ dir: join(dir, 'minio'), progress }));
  const jaeger = started.use(await startJaeger({ dir: join(dir, 'jaeger'), progress }));
  const collector = started.use(
    await startCollector({ dir: join(dir, 'collector'), backendUrl: jaeger.otlpGrpcUrl }),
  );
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml']) {
    await applyManifests(controlPlane, await readFile(new URL(file, DEPLOY), 'utf8'));
  }
  const client = new HttpKubeClient({
    config: loadKubeConfig({ path: controlPlane.kubeconfigFile, env: {} }),
    clock: systemClock,
    userAgent: 'storage-probe-bench',
  });
  started.defer(() => client.close());

  const user = await createMinioUser(minio, new URL('local/minio/probe-policy.json', DEPLOY).pathname);
  for (const namespace of NAMESPACES) {
    await createNamespace(controlPlane, namespace);
    const secret = { metadata: { namespace, name: SECRET }, stringData: user };
    await createObject(client, SECRETS, secret, NEVER);
  }

  async function createProbes(prefix: string, count: number, interval: string): Promise<Probe[]> {
    const creations = Array.from({ length: count }, (_, i) => async (): Promise<Probe> => {
      const namespace = NAMESPACES[i % NAMESPACES.length] ?? '';
      const manifest = probeManifest({ namespace, name: `${prefix}-${i}`, endpoint: minio.url, interval });
      const { metadata } = await createObject(client, STORAGE_PROBES, manifest, NEVER);
      return { key: objectKey({ metadata }), uid: metadata.uid ?? '' };
    });
    return await new PQueue({ concurrency: MAX_CONCURRENT_REQUESTS }).addAll(creations);
  }
  async function deleteProbes(): Promise<void> {
    const deletions = NAMESPACES.map((namespace) => async () => {
      const path = resourcePath(STORAGE_PROBES, { namespace });
      await client.request({ method: 'DELETE', path, timeoutMs: DELETE_TIMEOUT_MS }, NEVER);
    });
    await new PQueue({ concurrency: MAX_CONCURRENT_REQUESTS }).addAll(deletions);
  }

  const operatorKubeconfigFile = await controlPlane.kubeconfigFor(OPERATOR);
  const stop = started.move();
  return {
    operatorKubeconfigFile,
    collectorUrl: collector.otlpGrpcUrl,
    createProbes,
    deleteProbes,
    [Symbol.asyncDispose]: () => stop.disposeAsync(),
  };
}

const SECRETS = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' };

interface ProbeOptions {
  readonly namespace: string;
  readonly name: string;
  readonly endpoint: string;
  readonly interval: string;
}

function probeManifest({ namespace, name, endpoint, interval }: ProbeOptions): KubeObject & { spec: object } {
  return {
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: { namespace, name },
    spec: {
      schedule: { interval },
      timeout: '20s',
      targets: [{ name, endpoint, credentialsSecretRef: { name: SECRET } }],
      objects: [{ size: `${OBJECT_BYTES}` }],
    },
  };
}
