import { KubeConfig } from '@kubernetes/client-node';
import { mkdtempDisposable, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { stringify } from 'yaml';

import {
  compactEtcd,
  type ControlPlane,
  OPERATOR,
  startControlPlane,
} from '../../deploy/local/control-plane.ts';
import { requestKube, requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { getTable } from '../../deploy/local/table.ts';
import {
  FORBIDDEN_PERMISSIONS,
  LEASE_PERMISSIONS,
  resourceAttributes,
  type Permission,
  RUN_PERMISSIONS,
} from '../support/operator-permissions.ts';
import { uniqueName } from '../support/unique-name.ts';
import { stablePort } from './ports.ts';

const { kube } = inject('servers');

interface ConfigMap {
  readonly metadata: { readonly resourceVersion: string; readonly uid: string };
  readonly data?: Readonly<Record<string, string>>;
}

function configMap(name: string, value: string): string {
  return `{ apiVersion: v1, kind: ConfigMap, metadata: { name: ${name} }, data: { value: ${value} } }`;
}

async function allowedIn(namespace: string): Promise<Permission[]> {
  const rights = [...RUN_PERMISSIONS, ...LEASE_PERMISSIONS, ...FORBIDDEN_PERMISSIONS];
  const answers = await Promise.all(
    rights.map((right) =>
      requestKubeBody<{ status: { allowed: boolean } }>(kube, {
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes: resourceAttributes(right, namespace, 'any') },
        },
        user: OPERATOR,
      }),
    ),
  );
  return rights.filter((_, index) => answers[index]?.status.allowed);
}

describe('the user storage-probe', () => {
  it('has the rights of the operator in all namespaces, and no others', async () => {
    expect(await allowedIn('storage')).toEqual(RUN_PERMISSIONS);
    expect(await allowedIn('storage-probe')).toEqual([...RUN_PERMISSIONS, ...LEASE_PERMISSIONS]);
  });
});

/** CustomResourceDefinition of a kind `Thing` with printer columns for a string and a date. */
function thingDefinition(group: string) {
  const spec = { type: 'object', properties: { size: { type: 'string' } } };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec } } };
  const additionalPrinterColumns = [
    { name: 'Size', type: 'string', jsonPath: '.spec.size' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `things.${group}` },
    spec: {
      group,
      names: { kind: 'Thing', plural: 'things' },
      scope: 'Namespaced',
      versions: [{ name: 'v1', served: true, storage: true, schema, additionalPrinterColumns }],
    },
  };
}

describe('applyManifests', () => {
  it('creates the namespace and objects, then updates them', async () => {
    const namespace = uniqueName('apply');
    const path = `/api/v1/namespaces/${namespace}/configmaps/a`;
    await applyManifests(kube, configMap('a', 'first'), { namespace });
    const first = await requestKubeBody<ConfigMap>(kube, { path });
    await applyManifests(kube, `# the same\n---\n${configMap('a', 'second')}\n---\n`, { namespace });
    const second = await requestKubeBody<ConfigMap>(kube, { path });
    expect(second).toMatchObject({ metadata: { uid: first.metadata.uid }, data: { value: 'second' } });
  });

  it('applies a CustomResourceDefinition and its resources from one text', async () => {
    const group = `${uniqueName('kind')}.example.com`;
    const definition = thingDefinition(group);
    const thing = {
      apiVersion: `${group}/v1`,
      kind: 'Thing',
      metadata: { name: 'a' },
      spec: { size: '4Ki' },
    };
    await applyManifests(kube, [definition, thing].map((manifest) => stringify(manifest)).join('---\n'));
    expect(await getTable(kube, `/apis/${group}/v1/things`)).toMatch(
      /^NAMESPACE   NAME   SIZE   AGE\ndefault     a      4Ki    \d+s$/,
    );
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition.metadata.name}`;
    await requestKubeBody(kube, { method: 'DELETE', path });
  });

  it.each([
    {
      name: 'an unknown kind',
      text: '{ apiVersion: v1, kind: Thing, metadata: { name: thing } }',
      want: 'the API server does not serve Thing in v1',
    },
    {
      name: 'an unknown field',
      text: '{ apiVersion: v1, kind: ConfigMap, metadata: { name: a }, date: {} }',
      want: /^PATCH .*\/configmaps\/a.*: HTTP 500: .*\.date: field not declared in schema/,
    },
    { name: 'invalid YAML', text: '{', want: /at line 1/ },
  ])('rejects $name', async ({ text, want }) => {
    await expect(applyManifests(kube, text)).rejects.toThrow(want);
  });
});

describe('startControlPlane', () => {
  const started = new AsyncDisposableStack();
  let controlPlane: ControlPlane;
  beforeAll(async () => {
    const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-kube-')));
    const users = [{ name: 'team-member', groups: ['team'] }];
    controlPlane = started.use(await startControlPlane({ dir, users, port: await stablePort() }));
  });
  afterAll(() => started.disposeAsync());

  it('authenticates each user with their token and rejects an unknown token', async () => {
    const path = '/api/v1/namespaces/default/configmaps';
    const statuses = ['admin', 'storage-probe', 'team-member'].map(
      async (user) => (await requestKube(controlPlane, { path, user })).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 403, 403]);
    const unauthenticated = { ...controlPlane, tokens: { admin: 'a guess' } };
    expect(await requestKube(unauthenticated, { path })).toMatchObject({ status: 401 });
  });

  it.each([
    { user: 'admin', file: () => Promise.resolve(controlPlane.kubeconfigFile), namespace: undefined },
    {
      user: 'team-member',
      file: () => controlPlane.kubeconfigFor('team-member', 'storage'),
      namespace: 'storage',
    },
  ])('writes a kubeconfig for $user that only the file owner can read', async ({ user, file, namespace }) => {
    const path = await file();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const config = new KubeConfig();
    config.loadFromFile(path);
    expect(config.getCurrentCluster()).toMatchObject({
      server: controlPlane.url,
      caData: Buffer.from(controlPlane.caPem).toString('base64'),
    });
    expect(config.getCurrentUser()).toMatchObject({ name: user, token: controlPlane.tokens[user] });
    expect(config.getContextObject(config.getCurrentContext())?.namespace).toBe(namespace);
  });

  it('rejects a kubeconfig for an unknown user', async () => {
    await expect(controlPlane.kubeconfigFor('nobody')).rejects.toThrow(
      'unknown user nobody: use one of admin, storage-probe, team-member',
    );
  });

  it('restarts at the same URL with its objects, but without compacted revisions', async () => {
    const path = '/api/v1/namespaces/default/configmaps/a';
    await applyManifests(controlPlane, configMap('a', 'first'));
    const { metadata } = await requestKubeBody<ConfigMap>(controlPlane, { path });
    await applyManifests(controlPlane, configMap('a', 'second'));
    await compactEtcd(controlPlane);

    const { url, apiServer } = controlPlane;
    await controlPlane.killApiServer();
    expect(await apiServer.exited).toMatchObject({ signal: 'SIGKILL' });
    await expect(requestKube(controlPlane, { path })).rejects.toThrow('ECONNREFUSED');
    await controlPlane.restartApiServer();
    expect(controlPlane.url).toBe(url);
    expect(controlPlane.apiServer.pid).not.toBe(apiServer.pid);

    expect(await requestKubeBody(controlPlane, { path })).toMatchObject({ data: { value: 'second' } });
    const watch = `/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion=${metadata.resourceVersion}`;
    expect(await requestKube(controlPlane, { path: watch })).toMatchObject({
      body: { type: 'ERROR', object: { code: 410, reason: 'Expired' } },
    });
  });
});
