import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, inject, it, onTestFinished, vi } from 'vitest';

import { compactEtcd, type ControlPlane, startControlPlane } from '../../deploy/local/control-plane.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import type { KubeClient, KubeRequest } from '../../src/kube/kube-client.ts';
import { Reflector } from '../../src/kube/reflector.ts';
import { patchObject } from '../../src/kube/resources.ts';
import {
  CONFIG_MAPS,
  type ConfigMap,
  connectTo,
  deleteConfigMap,
  createNamespace,
  NEVER,
  putConfigMap,
} from './kube.ts';
import { stablePort } from './ports.ts';

const { kube } = inject('servers');
const WITHIN = { timeout: 20_000, interval: 20 };

/** A client that records requests and can pause them. */
class PausableKubeClient implements KubeClient {
  readonly lists: KubeRequest[] = [];
  readonly watches: KubeRequest[] = [];
  readonly #client: KubeClient;
  #resumed = Promise.resolve();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Pauses new requests. @returns A function that resumes them. */
  pause(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resumed = promise;
    return resolve;
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    await this.#resumed;
    this.lists.push(request);
    return this.#client.request<T>(request, signal);
  }

  async *stream(request: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    await this.#resumed;
    this.watches.push(request);
    yield* this.#client.stream(request, signal);
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function ignore(): void {
  // The tests cause failures on purpose.
}

interface StartedReflector {
  readonly reflector: Reflector<ConfigMap>;
  readonly reflectorClient: PausableKubeClient;
  /** One entry per change, for example `added name=value`. */
  readonly changes: string[];
}

async function startReflector(kubeconfigFile: string, namespace: string): Promise<StartedReflector> {
  const reflectorClient = new PausableKubeClient(connectTo(kubeconfigFile));
  const changes: string[] = [];
  const reflector = new Reflector<ConfigMap>({
    client: reflectorClient,
    clock: systemClock,
    random: Math.random,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    resource: CONFIG_MAPS,
    namespace,
    onChange: ({ type, object }) => changes.push(`${type} ${object.metadata.name}=${object.data?.['value']}`),
  });
  const stopping = new AbortController();
  const running = reflector.run(stopping.signal);
  onTestFinished(() => {
    stopping.abort();
    return running;
  });
  await reflector.untilSynced(NEVER);
  return { reflector, reflectorClient, changes };
}

async function startDedicatedControlPlane(): Promise<ControlPlane> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-reflector-'));
  const controlPlane = await startControlPlane({ dir: dir.path, port: await stablePort() });
  onTestFinished(async () => {
    await controlPlane.stop();
    await dir.remove();
  });
  return controlPlane;
}

it('lists 1,200 objects in pages and then watches them', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const namespace = await createNamespace(client, 'reflected');
  const names = Array.from({ length: 1_200 }, (_, index) => `object-${String(index).padStart(4, '0')}`);
  await Promise.all(names.map((name) => putConfigMap(client, namespace, name, 'first')));

  const { reflector, reflectorClient, changes } = await startReflector(kube.kubeconfigFile, namespace);
  expect(Array.from(reflector.list(), ({ metadata }) => metadata.name).toSorted()).toEqual(names);
  expect(changes).toHaveLength(1_200);
  expect(reflectorClient.lists).toHaveLength(3);
  expect(reflector.get(`${namespace}/object-0007`)).toMatchObject({ data: { value: 'first' } });
  expect(reflector.get(`${namespace}/object-0007`)?.metadata).not.toHaveProperty('managedFields');

  const id = { namespace, name: 'object-0007' };
  await patchObject(client, CONFIG_MAPS, id, { data: { value: 'second' } }, NEVER);
  await deleteConfigMap(client, namespace, 'object-0007');
  await putConfigMap(client, namespace, 'object-0007', 'third');
  await vi.waitFor(() => {
    expect(changes.slice(1_200)).toEqual([
      'updated object-0007=second',
      'deleted object-0007=second',
      'added object-0007=third',
    ]);
  }, WITHIN);
  expect(reflectorClient.watches).toHaveLength(1);
});

it('resumes its watch without a new list after the API server restarts', async () => {
  const controlPlane = await startDedicatedControlPlane();
  const client = connectTo(controlPlane.kubeconfigFile);
  const namespace = await createNamespace(client, 'restarted');
  await putConfigMap(client, namespace, 'before', '1');
  const { reflector, reflectorClient, changes } = await startReflector(
    controlPlane.kubeconfigFile,
    namespace,
  );

  await controlPlane.killApiServer();
  await controlPlane.restartApiServer();
  expect(reflector.size).toBe(1);
  await putConfigMap(client, namespace, 'after', '2');
  await deleteConfigMap(client, namespace, 'before');
  await vi.waitFor(() => {
    expect(changes).toEqual(['added before=1', 'added after=2', 'deleted before=1']);
  }, WITHIN);
  expect(reflectorClient.lists).toHaveLength(1);
});

it('lists again if its resource version was compacted', async () => {
  const controlPlane = await startDedicatedControlPlane();
  const client = connectTo(controlPlane.kubeconfigFile);
  const namespace = await createNamespace(client, 'compacted');
  for (const name of ['kept', 'deleted', 'recreated']) await putConfigMap(client, namespace, name, '1');
  const { reflector, reflectorClient, changes } = await startReflector(
    controlPlane.kubeconfigFile,
    namespace,
  );
  const listed = changes.length;

  const resume = reflectorClient.pause();
  await controlPlane.killApiServer();
  await controlPlane.restartApiServer();
  await deleteConfigMap(client, namespace, 'deleted');
  await deleteConfigMap(client, namespace, 'recreated');
  await putConfigMap(client, namespace, 'recreated', '2');
  await compactEtcd(controlPlane);
  // Clears the API server's watch cache, which would still serve the compacted changes.
  await controlPlane.restartApiServer();
  resume();
  await vi.waitFor(() => {
    expect(changes.slice(listed).toSorted()).toEqual([
      'added recreated=2',
      'deleted deleted=1',
      'deleted recreated=1',
    ]);
  }, WITHIN);
  expect(changes.indexOf('deleted recreated=1')).toBeLessThan(changes.indexOf('added recreated=2'));
  expect(reflectorClient.lists).toHaveLength(2);
  expect(reflector.size).toBe(2);
});
