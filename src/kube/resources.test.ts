import { describe, expect, it } from 'vitest';

import { type KubeRequest, type KubeClient } from './kube-client.ts';
import { objectKey, resourcePath, type ResourceType } from './objects.ts';
import { applyStatus, createObject, deleteObject, listPage, patchObject } from './resources.ts';

const NEVER = new AbortController().signal;
const CONFIG_MAPS: ResourceType = { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' };
const LEASES: ResourceType = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease' };

describe('resourcePath', () => {
  it.each([
    { type: CONFIG_MAPS, location: {}, want: '/api/v1/configmaps' },
    { type: CONFIG_MAPS, location: { namespace: 'a', name: 'b' }, want: '/api/v1/namespaces/a/configmaps/b' },
    {
      type: LEASES,
      location: { namespace: 'a', name: 'b', subresource: 'status' },
      want: '/apis/coordination.k8s.io/v1/namespaces/a/leases/b/status',
    },
    { type: CONFIG_MAPS, location: { name: '../a?b' }, want: '/api/v1/configmaps/..%2Fa%3Fb' },
  ])('returns $want', ({ type, location, want }) => {
    expect(resourcePath(type, location)).toBe(want);
  });
});

it('objectKey returns the namespace and name', () => {
  expect(objectKey({ metadata: { namespace: 'a', name: 'b' } })).toBe('a/b');
  expect(objectKey({ metadata: { name: 'b' } })).toBe('b');
});

describe('requests', () => {
  const meta = { namespace: 'a', name: 'b' };
  const typed = { apiVersion: 'v1', kind: 'ConfigMap' };
  it.each<{ name: string; send: (client: KubeClient) => Promise<unknown>; want: KubeRequest }>([
    {
      name: 'lists a page',
      send: (client) => listPage(client, CONFIG_MAPS, { namespace: 'a', limit: 5, timeoutMs: 7 }, NEVER),
      want: { method: 'GET', path: '/api/v1/namespaces/a/configmaps', query: { limit: 5 }, timeoutMs: 7 },
    },
    {
      name: 'creates an object, adding apiVersion and kind',
      send: (client) => createObject(client, CONFIG_MAPS, { metadata: meta }, NEVER),
      want: {
        method: 'POST',
        path: '/api/v1/namespaces/a/configmaps',
        query: {},
        body: { ...typed, metadata: meta },
      },
    },
    {
      name: 'patches an object',
      send: (client) => patchObject(client, CONFIG_MAPS, meta, { data: null }, NEVER, { fieldManager: 'me' }),
      want: {
        method: 'PATCH',
        path: '/api/v1/namespaces/a/configmaps/b',
        query: { fieldManager: 'me' },
        body: { data: null },
        contentType: 'application/merge-patch+json',
      },
    },
    {
      name: 'applies a status',
      send: (client) => applyStatus(client, CONFIG_MAPS, { metadata: meta }, { fieldManager: 'me' }, NEVER),
      want: {
        method: 'PATCH',
        path: '/api/v1/namespaces/a/configmaps/b/status',
        query: { fieldManager: 'me', force: true },
        body: { ...typed, metadata: meta },
        contentType: 'application/apply-patch+yaml',
      },
    },
    {
      name: 'deletes only the object with the given UID',
      send: (client) => deleteObject(client, CONFIG_MAPS, meta, NEVER, { uid: 'u' }),
      want: {
        method: 'DELETE',
        path: '/api/v1/namespaces/a/configmaps/b',
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'u' } },
      },
    },
  ])('$name', async ({ send, want }) => {
    const sent: KubeRequest[] = [];
    const client: Pick<KubeClient, 'request'> = {
      request<T>(request: KubeRequest): Promise<T> {
        sent.push(request);
        return Promise.resolve({} as T);
      },
    };
    await send(client as KubeClient);
    // toEqual ignores undefined members, which are not sent.
    expect(sent).toEqual([want]);
  });
});
