import { inspect } from 'node:util';

import { describe, expect, inject, it, onTestFinished } from 'vitest';

import { KubeError } from '../../src/kube/kube-client.ts';
import { HttpKubeClient } from '../../src/kube/http-kube-client.ts';
import { loadKubeConfig } from '../../src/kube/kube-config.ts';
import type { KubeObject, ObjectMeta, ResourceType } from '../../src/kube/objects.ts';
import {
  applyObject,
  applyStatus,
  createObject,
  deleteObject,
  getObject,
  listPage,
  patchObject,
  replaceObject,
} from '../../src/kube/resources.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import { CONFIG_MAPS, type ConfigMap, connectTo, createNamespace, NEVER, putConfigMap } from './kube.ts';

const { kube } = inject('servers');
const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' };
const PROBES: ResourceType = {
  group: 'storageprobe.dev',
  version: 'v1alpha1',
  plural: 'storageprobes',
  kind: 'StorageProbe',
};
const FIELD_MANAGER = { fieldManager: 'storage-probe-test' };
const OTHER_UID = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';

interface Probe extends KubeObject {
  spec: object;
  status?: { observedGeneration: number };
}

async function rejectionOf(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

describe('an object', () => {
  it('is created, read, patched, replaced and deleted', async () => {
    const client = connectTo(kube.kubeconfigFile);
    const namespace = await createNamespace(client, 'objects');
    const created = await putConfigMap(client, namespace, 'a', '1');
    const id = { namespace, name: 'a' };
    expect(await getObject<ConfigMap>(client, CONFIG_MAPS, id, NEVER)).toEqual(created);

    const patched = await patchObject<ConfigMap>(client, CONFIG_MAPS, id, { data: { more: '2' } }, NEVER);
    expect(patched.data).toEqual({ value: '1', more: '2' });
    const replaced = await replaceObject(client, CONFIG_MAPS, { ...patched, data: {} }, NEVER);
    expect(replaced.data).toBeUndefined();
    expect(await rejectionOf(replaceObject(client, CONFIG_MAPS, patched, NEVER))).toMatchObject({
      status: 409,
      reason: 'Conflict',
    });
    expect(await rejectionOf(putConfigMap(client, namespace, 'a'))).toMatchObject({
      status: 409,
      reason: 'AlreadyExists',
      message: `POST /api/v1/namespaces/${namespace}/configmaps: 409 AlreadyExists: configmaps "a" already exists`,
    });

    expect(await rejectionOf(deleteObject(client, CONFIG_MAPS, id, NEVER, { uid: OTHER_UID }))).toMatchObject(
      {
        reason: 'Conflict',
      },
    );
    await deleteObject(client, CONFIG_MAPS, id, NEVER, { uid: created.metadata.uid ?? '' });
    expect(await rejectionOf(getObject(client, CONFIG_MAPS, id, NEVER))).toMatchObject({
      status: 404,
      reason: 'NotFound',
    });
  });

  it('is applied field by field, and never to an object with the same name but another UID', async () => {
    const client = connectTo(kube.kubeconfigFile);
    const namespace = await createNamespace(client, 'applied');
    const { metadata } = await putConfigMap(client, namespace, 'a', 'theirs');
    const ours = { metadata: { namespace, name: 'a' }, data: { ours: '1' } };
    const applied = await applyObject<ConfigMap>(client, CONFIG_MAPS, ours, FIELD_MANAGER, NEVER);
    expect(applied.data).toEqual({ value: 'theirs', ours: '1' });
    expect(applied.metadata.uid).toBe(metadata.uid);
    const otherObject = { metadata: { namespace, name: 'a', uid: OTHER_UID }, data: { ours: '2' } };
    expect(
      await rejectionOf(applyObject(client, CONFIG_MAPS, otherObject, FIELD_MANAGER, NEVER)),
    ).toMatchObject({
      reason: 'Invalid',
    });
    const missing = { metadata: { namespace, name: 'missing', uid: OTHER_UID } };
    expect(await rejectionOf(applyObject(client, CONFIG_MAPS, missing, FIELD_MANAGER, NEVER))).toMatchObject({
      reason: 'Conflict',
    });
  });

  it('has a status that is applied separately, optionally only to a given resourceVersion', async () => {
    const client = connectTo(kube.kubeconfigFile);
    const namespace = await createNamespace(client, 'status');
    const target = { name: 'a', endpoint: 'http://127.0.0.1:1', credentialsSecretRef: { name: 'a' } };
    const spec = { schedule: { interval: '30s' }, targets: [target] };
    const { metadata } = await createObject<Probe>(
      client,
      PROBES,
      { metadata: { namespace, name: 'a' }, spec },
      NEVER,
    );

    const statusOf = (name: string, observedGeneration: number, precondition: Partial<ObjectMeta>) =>
      applyStatus<Probe>(
        client,
        PROBES,
        { metadata: { namespace, name, ...precondition }, status: { observedGeneration } },
        FIELD_MANAGER,
        NEVER,
      );
    const { resourceVersion = '' } = metadata;
    expect(await statusOf('a', 1, { resourceVersion })).toMatchObject({
      spec,
      status: { observedGeneration: 1 },
    });
    expect(await rejectionOf(statusOf('a', 2, { resourceVersion }))).toMatchObject({ reason: 'Conflict' });
    // The API server ignores the UID when it applies a status.
    expect(await statusOf('a', 3, { uid: OTHER_UID })).toMatchObject({
      metadata: { uid: metadata.uid },
      status: { observedGeneration: 3 },
    });
    expect(await rejectionOf(statusOf('missing', 1, {}))).toMatchObject({ reason: 'NotFound' });
  });

  it('is listed page by page', async () => {
    const client = connectTo(kube.kubeconfigFile);
    const namespace = await createNamespace(client, 'listed');
    for (const name of ['a', 'b', 'c']) await putConfigMap(client, namespace, name);
    const first = await listPage(client, CONFIG_MAPS, { namespace, limit: 2 }, NEVER);
    expect(first.items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    const next = { namespace, limit: 2, continue: first.metadata.continue };
    const second = await listPage(client, CONFIG_MAPS, next, NEVER);
    expect(second.items.map(({ metadata }) => metadata.name)).toEqual(['c']);
    expect(second.metadata.continue ?? '').toBe('');
  });
});

describe('a rejected request', () => {
  it('reports what the user may not do', async () => {
    const client = connectTo(kube.operatorKubeconfigFile);
    const error = await rejectionOf(listPage(client, SECRETS, { namespace: 'default' }, NEVER));
    expect(error).toMatchObject({ status: 403, reason: 'Forbidden' });
    expect(error.message).toMatch(
      /^GET \/api\/v1\/namespaces\/default\/secrets: 403 Forbidden: secrets is forbidden: User "storage-probe" cannot list/,
    );
  });

  it('reports that the user is unauthorized, without the token', async () => {
    const config = loadKubeConfig({ path: kube.kubeconfigFile, env: {} });
    const [user] = config.users;
    config.users = [{ ...user, name: user?.name ?? '', token: 'hidden-token' }];
    const client = new HttpKubeClient({ config, clock: systemClock, userAgent: 'storage-probe-test' });
    onTestFinished(() => client.close());
    const error = await rejectionOf(listPage(client, SECRETS, {}, NEVER));
    expect(error).toMatchObject({ status: 401, reason: 'Unauthorized' });
    expect(inspect(error)).not.toContain('hidden');
  });
});
