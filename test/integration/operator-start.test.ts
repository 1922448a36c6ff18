import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';

import { until } from '../support/until.ts';
import { runCli } from './cli.ts';
import { startOperator } from './operator.ts';
import { portToComeBackTo } from './ports.ts';

const { kube } = inject('servers');
const NO_KUBECONFIG = { HOME: '/nonexistent', KUBECONFIG: '' };

describe('what cannot be worked with', () => {
  it.each([
    {
      name: 'no kubeconfig',
      args: [],
      line: 'no kubeconfig: none was given, KUBECONFIG is not set, this is no Pod, and there is no /nonexistent/.kube/config',
    },
    {
      name: 'a kubeconfig that is not there',
      args: ['--kubeconfig', '/nonexistent/kubeconfig'],
      line: 'kubeconfig /nonexistent/kubeconfig cannot be read: ENOENT',
    },
    { name: 'an unknown flag', args: ['--wach-namespaces=a'], line: "unknown option '--wach-namespaces=a'" },
    {
      name: 'a value that is no number',
      args: ['--max-runs', 'many'],
      line: '--max-runs: "many" is not a whole number; accepted: a whole number from 1 to 10000',
    },
    {
      name: 'a bad variable',
      args: [],
      env: { STORAGE_PROBE_WORKERS: '0' },
      line: 'STORAGE_PROBE_WORKERS: "0" is less than 1; accepted: ',
    },
    {
      name: 'a port that is taken',
      args: ['--kubeconfig', kube.operatorKubeconfigFile, '--listen-address', new URL(kube.url).host],
      line: '--listen-address: ',
    },
    { name: 'an argument', args: ['my-minio'], line: 'too many arguments' },
  ])('$name: one clear line, and exit code 2', async ({ args, env, line }) => {
    const end = await runCli(['controller', ...args], { env: { ...NO_KUBECONFIG, ...env } });
    expect(end).toMatchObject({ code: 2, stdout: '' });
    expect(end.stderr).toContain(`storage-probe: ${line}`);
    expect(end.stderr.match(/\n/g)).toHaveLength(1);
  });
});

it('an API server that is away: it lives, is not ready, and says so once', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-away-'));
  const kubeconfigFile = join(dir.path, 'kubeconfig');
  const there = await readFile(kube.operatorKubeconfigFile, 'utf8');
  const away = `https://127.0.0.1:${await portToComeBackTo()}`;
  await writeFile(kubeconfigFile, there.replace(kube.url, away), { mode: 0o600 });
  await using operator = await startOperator({ namespaces: ['default'], kubeconfigFile, untilReady: false });
  const attempts = async (): Promise<number> => {
    const samples = await operator.samples('rest_client_requests_total{', 'code="<error>"');
    return [...samples.values()].reduce((sum, value) => sum + value, 0);
  };
  await until('several attempts', 20_000, async () => (await attempts()) >= 6);
  expect((await operator.get('/healthz')).status).toBe(200);
  expect(await operator.get('/readyz')).toMatchObject({ status: 500 });
  const complaints = operator.logs().filter(({ level }) => level !== 'info');
  expect(complaints.map(({ msg }) => msg).toSorted()).toEqual([
    'list or watch failed; trying again',
    'the Lease cannot be read or written',
    'the Lease cannot be watched and is only polled',
  ]);
  for (const { error } of complaints) expect(error).toContain(`${away}: connect ECONNREFUSED`);
  expect(await operator.stop()).toEqual({ code: 0, signal: null });
});
