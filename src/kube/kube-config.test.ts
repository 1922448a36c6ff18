import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { expect, it, onTestFinished, vi } from 'vitest';

import { KubeConfigError, loadKubeConfig, type KubeConfigOptions } from './kube-config.ts';

async function temporaryDir(): Promise<string> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-kubeconfig-'));
  onTestFinished(() => dir.remove());
  return dir.path;
}

/** A kubeconfig whose cluster, user and context have the same name. */
function kubeconfig(name: string, server = `https://${name}.test:6443`, clusterFields: object = {}): string {
  return JSON.stringify({
    clusters: [{ name, cluster: { server, ...clusterFields } }],
    users: [{ name, user: { token: `hidden-${name}` } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: `ns-${name}` } }],
    'current-context': name,
  });
}

async function writeTextFile(path: string, text: string): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, text);
  return path;
}

function serverOf(options: KubeConfigOptions): string | undefined {
  return loadKubeConfig(options).getCurrentCluster()?.server;
}

function failureOf(options: KubeConfigOptions): string {
  try {
    loadKubeConfig(options);
  } catch (error) {
    if (error instanceof KubeConfigError) return error.message;
    throw error;
  }
  throw new Error('the kubeconfig was accepted');
}

it('prefers the path, then KUBECONFIG, the ServiceAccount and the home directory', async () => {
  const dir = await temporaryDir();
  const path = await writeTextFile(join(dir, 'path'), kubeconfig('path'));
  const fromEnv = await writeTextFile(join(dir, 'env'), kubeconfig('env'));
  await writeTextFile(join(dir, '.kube', 'config'), kubeconfig('home'));
  const account = join(dir, 'var', 'run', 'secrets', 'kubernetes.io', 'serviceaccount');
  await writeTextFile(join(account, 'token'), 'hidden');
  await writeTextFile(join(account, 'namespace'), 'storage');
  // The library reads these two variables from the process environment.
  vi.stubEnv('KUBERNETES_SERVICE_HOST', '10.0.0.1');
  vi.stubEnv('KUBERNETES_SERVICE_PORT', '443');
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });

  const env = { HOME: dir, KUBECONFIG: fromEnv, KUBERNETES_SERVICE_HOST: '10.0.0.1' };
  expect(serverOf({ path, env, root: dir })).toBe('https://path.test:6443');
  expect(serverOf({ env, root: dir })).toBe('https://env.test:6443');
  const inCluster = loadKubeConfig({ env: { ...env, KUBECONFIG: '' }, root: dir });
  expect(inCluster.getCurrentCluster()).toMatchObject({
    server: 'https://10.0.0.1:443',
    caFile: join(account, 'ca.crt'),
  });
  expect(inCluster.getContextObject(inCluster.getCurrentContext())?.namespace).toBe('storage');
  expect(serverOf({ env: { HOME: dir }, root: dir })).toBe('https://home.test:6443');
});

it('uses the given context', async () => {
  const dir = await temporaryDir();
  const a = await writeTextFile(join(dir, 'a'), kubeconfig('a'));
  const b = await writeTextFile(join(dir, 'b'), kubeconfig('b'));
  const env = { KUBECONFIG: [a, b].join(delimiter) };
  expect(serverOf({ env, context: 'b' })).toBe('https://b.test:6443');
  expect(failureOf({ env, context: 'c' })).toBe(
    `kubeconfig: KUBECONFIG=${env.KUBECONFIG} has no context c; available: a, b`,
  );
});

it('merges the files of KUBECONFIG as kubectl does', async () => {
  const dir = await temporaryDir();
  const missing = join(dir, 'missing');
  const a = await writeTextFile(join(dir, 'a'), kubeconfig('a'));
  const duplicate = await writeTextFile(join(dir, 'duplicate'), kubeconfig('a', 'https://duplicate.test'));
  const env = { KUBECONFIG: ['', missing, a, duplicate].join(delimiter) };
  expect(serverOf({ env })).toBe('https://a.test:6443');
  expect(failureOf({ env: { KUBECONFIG: missing } })).toBe(
    `kubeconfig: no file exists at KUBECONFIG=${missing}`,
  );
});

it('lists the places it searched when there is no kubeconfig', async () => {
  const dir = await temporaryDir();
  expect(failureOf({ env: { HOME: dir }, root: dir })).toBe(
    `no kubeconfig found: none was given, KUBECONFIG is not set, the process is not in a Pod, and ${dir}/.kube/config does not exist`,
  );
});

it.each([
  { name: 'is not YAML', text: 'users: [ token: hidden', want: /cannot be read: \S.*\(1:\d+\)$/ },
  { name: 'is empty', text: '', want: /cannot be read: \S/ },
  {
    name: 'lacks a required field',
    text: '{"clusters":[{"name":"a"}]}',
    want: /clusters\[0\]\.cluster is missing$/,
  },
  { name: 'has no current context', text: '{}', want: /has no current-context$/ },
  {
    name: 'lacks the cluster of its context',
    text: kubeconfig('a').replace('"clusters"', '"others"'),
    want: /the cluster of context a is not defined$/,
  },
  {
    name: 'has a server that does not use TLS',
    text: kubeconfig('a', 'http://a.test'),
    want: /http:\/\/a\.test does not use TLS; .*$/,
  },
  {
    name: 'has a server that is not a URL',
    text: kubeconfig('a', 'a.test:6443'),
    want: /a\.test:6443 must be an https:\/\/ URL$/,
  },
  {
    name: 'impersonates groups without a user',
    text: kubeconfig('a').replace('"token"', '"as-groups":["admins"],"token"'),
    want: /user a: as-uid, as-groups and as-user-extra require as$/,
  },
  {
    name: 'has groups that are not a list',
    text: kubeconfig('a').replace('"token"', '"as":"jane","as-groups":"hidden","token"'),
    want: /user a: as-groups is invalid; accepted: a list of group names$/,
  },
  {
    name: 'has an extra field that is not a list',
    text: kubeconfig('a').replace('"token"', '"as":"jane","as-user-extra":{"hidden":"a"},"token"'),
    want: /user a: as-user-extra is invalid; accepted: a map from names to lists of strings$/,
  },
])('reports a file that $name: one line, no credentials', async ({ text, want }) => {
  const path = await writeTextFile(join(await temporaryDir(), 'config'), text);
  const message = failureOf({ path, env: {} });
  expect(message).toMatch(want);
  expect(message).toMatch(/^kubeconfig\b/);
  expect(message).toContain(path);
  expect(message).not.toMatch(/\n|hidden/);
});

it('accepts a server that does not use TLS if insecure-skip-tls-verify is set', async () => {
  const path = await writeTextFile(
    join(await temporaryDir(), 'config'),
    kubeconfig('a', 'http://a.test', { 'insecure-skip-tls-verify': true }),
  );
  expect(serverOf({ path, env: {} })).toBe('http://a.test');
});
