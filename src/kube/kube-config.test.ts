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
function kubeconfig(name: string, server = `https://${name}.test:6443`, more: object = {}): string {
  return JSON.stringify({
    clusters: [{ name, cluster: { server, ...more } }],
    users: [{ name, user: { token: `hidden-${name}` } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: `of-${name}` } }],
    'current-context': name,
  });
}

async function put(path: string, text: string): Promise<string> {
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
  throw new Error('it was accepted');
}

it('takes the path, else KUBECONFIG, else the ServiceAccount, else that of the home directory', async () => {
  const dir = await temporaryDir();
  const path = await put(join(dir, 'path'), kubeconfig('path'));
  const listed = await put(join(dir, 'listed'), kubeconfig('listed'));
  await put(join(dir, '.kube', 'config'), kubeconfig('home'));
  const account = join(dir, 'var', 'run', 'secrets', 'kubernetes.io', 'serviceaccount');
  await put(join(account, 'token'), 'hidden');
  await put(join(account, 'namespace'), 'storage');
  // The library reads these two from the process.
  vi.stubEnv('KUBERNETES_SERVICE_HOST', '10.0.0.1');
  vi.stubEnv('KUBERNETES_SERVICE_PORT', '443');
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });

  const env = { HOME: dir, KUBECONFIG: listed, KUBERNETES_SERVICE_HOST: '10.0.0.1' };
  expect(serverOf({ path, env, root: dir })).toBe('https://path.test:6443');
  expect(serverOf({ env, root: dir })).toBe('https://listed.test:6443');
  const inCluster = loadKubeConfig({ env: { ...env, KUBECONFIG: '' }, root: dir });
  expect(inCluster.getCurrentCluster()).toMatchObject({
    server: 'https://10.0.0.1:443',
    caFile: join(account, 'ca.crt'),
  });
  expect(inCluster.getContextObject(inCluster.getCurrentContext())?.namespace).toBe('storage');
  expect(serverOf({ env: { HOME: dir }, root: dir })).toBe('https://home.test:6443');
});

it('takes another context by name', async () => {
  const dir = await temporaryDir();
  const a = await put(join(dir, 'a'), kubeconfig('a'));
  const b = await put(join(dir, 'b'), kubeconfig('b'));
  const env = { KUBECONFIG: [a, b].join(delimiter) };
  expect(serverOf({ env, context: 'b' })).toBe('https://b.test:6443');
  expect(failureOf({ env, context: 'c' })).toBe(
    `kubeconfig: KUBECONFIG=${env.KUBECONFIG} has no context c, only: a, b`,
  );
});

it('merges the files of KUBECONFIG as kubectl does', async () => {
  const dir = await temporaryDir();
  const missing = join(dir, 'missing');
  const a = await put(join(dir, 'a'), kubeconfig('a'));
  const again = await put(join(dir, 'again'), kubeconfig('a', 'https://again.test'));
  const env = { KUBECONFIG: ['', missing, a, again].join(delimiter) };
  expect(serverOf({ env })).toBe('https://a.test:6443');
  expect(failureOf({ env: { KUBECONFIG: missing } })).toBe(`kubeconfig: no such file: KUBECONFIG=${missing}`);
});

it('says where it looked when there is none', async () => {
  const dir = await temporaryDir();
  expect(failureOf({ env: { HOME: dir }, root: dir })).toBe(
    `no kubeconfig: none was given, KUBECONFIG is not set, this is no Pod, and there is no ${dir}/.kube/config`,
  );
});

it.each([
  { name: 'is not YAML', text: 'users: [ token: hidden', want: /cannot be read: \S.*\(1:\d+\)$/ },
  { name: 'is empty', text: '', want: /cannot be read: \S/ },
  { name: 'lacks a member', text: '{"clusters":[{"name":"a"}]}', want: /clusters\[0\]\.cluster is missing$/ },
  { name: 'has no context', text: '{}', want: /has no current-context$/ },
  {
    name: 'has a context without its cluster',
    text: kubeconfig('a').replace('"clusters"', '"others"'),
    want: /lacks the cluster that its context a names$/,
  },
  {
    name: 'has a server without TLS',
    text: kubeconfig('a', 'http://a.test'),
    want: /http:\/\/a\.test has no TLS; .*$/,
  },
  {
    name: 'has a server that is no URL',
    text: kubeconfig('a', 'a.test:6443'),
    want: /a\.test:6443 is no https:\/\/ URL$/,
  },
])('is one line, without credentials, about a file that $name', async ({ text, want }) => {
  const path = await put(join(await temporaryDir(), 'config'), text);
  const message = failureOf({ path, env: {} });
  expect(message).toMatch(want);
  expect(message).toMatch(/^kubeconfig\b/);
  expect(message).toContain(path);
  expect(message).not.toMatch(/\n|hidden/);
});

it('takes a server without TLS from those who insist', async () => {
  const path = await put(
    join(await temporaryDir(), 'config'),
    kubeconfig('a', 'http://a.test', { 'insecure-skip-tls-verify': true }),
  );
  expect(serverOf({ path, env: {} })).toBe('http://a.test');
});
