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
  makeNamespace,
  NEVER,
  putConfigMap,
} from './kube.ts';
import { portToComeBackTo } from './ports.ts';

const { kube } = inject('servers');
const WITHIN = { timeout: 20_000, interval: 20 };

/** Lets requests through while it is open, and counts them. */
class Gate implements KubeClient {
  readonly lists: KubeRequest[] = [];
  readonly watches: KubeRequest[] = [];
  readonly #client: KubeClient;
  #opened = Promise.resolve();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** @returns what opens it again. */
  shut(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#opened = promise;
    return resolve;
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    await this.#opened;
    this.lists.push(request);
    return this.#client.request<T>(request, signal);
  }

  async *stream(request: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    await this.#opened;
    this.watches.push(request);
    yield* this.#client.stream(request, signal);
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function ignore(): void {
  // What fails here is part of the test.
}

interface Reflected {
  readonly reflector: Reflector<ConfigMap>;
  readonly gate: Gate;
  /** `added name=value` of each change. */
  readonly told: string[];
}

async function reflect(kubeconfigFile: string, namespace: string): Promise<Reflected> {
  const gate = new Gate(connectTo(kubeconfigFile));
  const told: string[] = [];
  const reflector = new Reflector<ConfigMap>({
    client: gate,
    clock: systemClock,
    random: Math.random,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    resource: CONFIG_MAPS,
    namespace,
    onChange: ({ type, object }) => told.push(`${type} ${object.metadata.name}=${object.data?.['value']}`),
  });
  const stopping = new AbortController();
  const running = reflector.run(stopping.signal);
  onTestFinished(() => {
    stopping.abort();
    return running;
  });
  await reflector.untilSynced(NEVER);
  return { reflector, gate, told };
}

async function startOwn(): Promise<ControlPlane> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-reflector-'));
  const controlPlane = await startControlPlane({ dir: dir.path, port: await portToComeBackTo() });
  onTestFinished(async () => {
    await controlPlane.stop();
    await dir.remove();
  });
  return controlPlane;
}

it('lists 1,200 objects in pages, and then follows them', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const namespace = await makeNamespace(client, 'reflected');
  const names = Array.from({ length: 1_200 }, (_, index) => `object-${String(index).padStart(4, '0')}`);
  await Promise.all(names.map((name) => putConfigMap(client, namespace, name, 'first')));

  const { reflector, gate, told } = await reflect(kube.kubeconfigFile, namespace);
  expect(Array.from(reflector.list(), ({ metadata }) => metadata.name).toSorted()).toEqual(names);
  expect(told).toHaveLength(1_200);
  expect(gate.lists).toHaveLength(3);
  expect(reflector.get(`${namespace}/object-0007`)).toMatchObject({ data: { value: 'first' } });
  expect(reflector.get(`${namespace}/object-0007`)?.metadata).not.toHaveProperty('managedFields');

  const id = { namespace, name: 'object-0007' };
  await patchObject(client, CONFIG_MAPS, id, { data: { value: 'second' } }, NEVER);
  await deleteConfigMap(client, namespace, 'object-0007');
  await putConfigMap(client, namespace, 'object-0007', 'third');
  await vi.waitFor(() => {
    expect(told.slice(1_200)).toEqual([
      'updated object-0007=second',
      'deleted object-0007=second',
      'added object-0007=third',
    ]);
  }, WITHIN);
  expect(gate.watches).toHaveLength(1);
});

it('goes on without another list when the API server was killed and comes back', async () => {
  const controlPlane = await startOwn();
  const client = connectTo(controlPlane.kubeconfigFile);
  const namespace = await makeNamespace(client, 'restarted');
  await putConfigMap(client, namespace, 'before', '1');
  const { reflector, gate, told } = await reflect(controlPlane.kubeconfigFile, namespace);

  await controlPlane.killApiServer();
  await controlPlane.restartApiServer();
  expect(reflector.size).toBe(1);
  await putConfigMap(client, namespace, 'after', '2');
  await deleteConfigMap(client, namespace, 'before');
  await vi.waitFor(() => {
    expect(told).toEqual(['added before=1', 'added after=2', 'deleted before=1']);
  }, WITHIN);
  expect(gate.lists).toHaveLength(1);
});

it('lists again when what it missed has been compacted', async () => {
  const controlPlane = await startOwn();
  const client = connectTo(controlPlane.kubeconfigFile);
  const namespace = await makeNamespace(client, 'compacted');
  for (const name of ['kept', 'gone', 'made-anew']) await putConfigMap(client, namespace, name, '1');
  const { reflector, gate, told } = await reflect(controlPlane.kubeconfigFile, namespace);
  const listed = told.length;

  const open = gate.shut();
  await controlPlane.killApiServer();
  await controlPlane.restartApiServer();
  await deleteConfigMap(client, namespace, 'gone');
  await deleteConfigMap(client, namespace, 'made-anew');
  await putConfigMap(client, namespace, 'made-anew', '2');
  await compactEtcd(controlPlane);
  // Else it would serve what it still holds in memory.
  await controlPlane.restartApiServer();
  open();
  await vi.waitFor(() => {
    expect(told.slice(listed).toSorted()).toEqual([
      'added made-anew=2',
      'deleted gone=1',
      'deleted made-anew=1',
    ]);
  }, WITHIN);
  expect(told.indexOf('deleted made-anew=1')).toBeLessThan(told.indexOf('added made-anew=2'));
  expect(gate.lists).toHaveLength(2);
  expect(reflector.size).toBe(2);
});
