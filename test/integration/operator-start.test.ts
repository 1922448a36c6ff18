import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';

import { until } from '../support/until.ts';
import { runCli } from './cli.ts';
import { startOperator } from './operator.ts';
import { stablePort } from './ports.ts';

const { kube } = inject('servers');
const NO_KUBECONFIG = { HOME: '/nonexistent', KUBECONFIG: '' };

describe('invalid configuration', () => {
  it.each([
    {
      name: 'no kubeconfig',
      args: [],
      line: 'no kubeconfig found: none was given, KUBECONFIG is not set, the process is not in a Pod, and /nonexistent/.kube/config does not exist',
    },
    {
      name: 'a missing kubeconfig file',
      args: ['--kubeconfig', '/nonexistent/kubeconfig'],
      line: 'kubeconfig /nonexistent/kubeconfig cannot be read: ENOENT',
    },
    { name: 'an unknown flag', args: ['--wach-namespaces=a'], line: "unknown option '--wach-namespaces=a'" },
    {
      name: 'a value that is not a number',
      args: ['--max-runs', 'many'],
      line: '--max-runs: "many" is not a whole number; accepted: a whole number from 1 to 10000',
    },
    {
      name: 'an invalid environment variable',
      args: [],
      env: { STORAGE_PROBE_WORKERS: '0' },
      line: 'STORAGE_PROBE_WORKERS: "0" is less than 1; accepted: ',
    },
    {
      name: 'a port in use',
      args: ['--kubeconfig', kube.operatorKubeconfigFile, '--listen-address', new URL(kube.url).host],
      line: '--listen-address: ',
    },
    { name: 'an unexpected argument', args: ['my-minio'], line: 'too many arguments' },
  ])('exits with 2 and prints one line for $name', async ({ args, env, line }) => {
    const exit = await runCli(['controller', ...args], { env: { ...NO_KUBECONFIG, ...env } });
    expect(exit).toMatchObject({ code: 2, stdout: '' });
    expect(exit.stderr).toContain(`storage-probe: ${line}`);
    expect(exit.stderr.match(/\n/g)).toHaveLength(1);
  });
});

it('is live but not ready while the API server is unreachable, and logs each failure once', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-unreachable-'));
  const kubeconfigFile = join(dir.path, 'kubeconfig');
  const kubeconfig = await readFile(kube.operatorKubeconfigFile, 'utf8');
  const unreachableUrl = `https://127.0.0.1:${await stablePort()}`;
  await writeFile(kubeconfigFile, kubeconfig.replace(kube.url, unreachableUrl), { mode: 0o600 });
  await using operator = await startOperator({
    namespaces: ['default'],
    kubeconfigFile,
    waitForReady: false,
  });
  const attempts = async (): Promise<number> => {
    const samples = await operator.samples('rest_client_requests_total{', 'code="<error>"');
    return [...samples.values()].reduce((sum, value) => sum + value, 0);
  };
  await until('several attempts', 20_000, async () => (await attempts()) >= 6);
  expect((await operator.get('/healthz')).status).toBe(200);
  expect(await operator.get('/readyz')).toMatchObject({ status: 500 });
  const failures = operator.logs().filter(({ level }) => level !== 'info');
  // A replica that has not read the probes does not try to get the Lease.
  expect(failures.map(({ msg }) => msg)).toEqual(['list or watch failed; retrying']);
  for (const { error } of failures) expect(error).toContain(`${unreachableUrl}: connect ECONNREFUSED`);
  expect(await operator.stop()).toEqual({ code: 0, signal: null });
});
