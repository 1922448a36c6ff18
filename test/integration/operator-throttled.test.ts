import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it, onTestFinished } from 'vitest';

import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type ApiRequest, startApiServerProxy } from './api-server-proxy.ts';
import { runsOf, untilRuns } from './probes.ts';
import {
  expectOnSchedule,
  isListOrWatch,
  makeNamespace,
  makeProbes,
  messagesOf,
  ONCE_A_DAY,
  SLACK_MS,
  specOf,
  startWriter,
  untilAllHealthy,
  untilCaughtUp,
} from './resilience.ts';

const { kube } = inject('servers');

async function newFile(): Promise<string> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-throttled-'));
  onTestFinished(() => dir.remove());
  return join(dir.path, 'kubeconfig');
}

it('sees changes soon, and asks no more often than is good, where watches are closed every second', async () => {
  const namespace = await makeNamespace('cut-short');
  const kubeconfigFile = await newFile();
  await using proxy = await startApiServerProxy(kube, kube.operatorKubeconfigFile, kubeconfigFile);
  proxy.fault = ({ isWatch }) => (isWatch ? { endAfterMs: 1_000 } : undefined);
  await using operator = await startWriter(namespace, { kubeconfigFile });
  const fromMs = performance.now();
  const delaysMs: number[] = [];
  for (let change = 0; change < 10; change += 1) {
    await until('a pause between two watches', 10_000, () => {
      const watches = proxy.requests.filter((request) => request.isWatch && isListOrWatch(request));
      return watches.at(-1)?.hasEnded;
    });
    const name = uniqueName('probe');
    const appliedMs = performance.now();
    await namespace.apply(name, specOf(name, ONCE_A_DAY));
    await until('it to be run', 10_000, async () => (await runsOf(operator, name)) === 1);
    delaysMs.push(performance.now() - appliedMs);
  }
  const seconds = (performance.now() - fromMs) / 1_000;
  const ofProbes = proxy.requests.filter((request) => isListOrWatch(request) && request.atMs > fromMs);
  expect(Math.max(...delaysMs)).toBeLessThan(2_000 + SLACK_MS);
  expect(ofProbes.length / seconds).toBeLessThan(1);
  expect(ofProbes.filter(({ isWatch }) => !isWatch)).toEqual([]);
});

it(
  'works where half of what it asks is put off, and waits for as long as it is told',
  { timeout: 120_000 },
  async () => {
    const namespace = await makeNamespace('busy');
    const kubeconfigFile = await newFile();
    await using proxy = await startApiServerProxy(kube, kube.operatorKubeconfigFile, kubeconfigFile);
    let count = 0;
    proxy.fault = () => ((count += 1) % 2 === 0 ? { status: 429, retryAfterSeconds: 1 } : undefined);
    await using operator = await startWriter(namespace, { kubeconfigFile });
    const names = await makeProbes(namespace, 6);
    await untilAllHealthy(namespace, names);
    const fromMs = Date.now();
    await Promise.all(names.map((name) => untilRuns(operator, name, 4)));
    expectOnSchedule(operator, names, fromMs);
    await untilCaughtUp(namespace, names, Date.now());

    const refused = proxy.requests.filter(({ isRefused }) => isRefused);
    expect(refused.length).toBeGreaterThan(10);
    // Only what had to be given up while it waited is asked for anew before its time.
    expect(tooSoon(proxy.requests).length).toBeLessThan(refused.length / 5);
    expect(messagesOf(operator, 'warn')).not.toContain('lost the lead');
  },
);

/** Requests for what was refused less than a second before. */
function tooSoon(requests: readonly ApiRequest[]): ApiRequest[] {
  return requests.filter((request, index) =>
    requests
      .slice(0, index)
      .some(
        ({ isRefused, method, path, atMs }) =>
          isRefused && method === request.method && path === request.path && request.atMs - atMs < 950,
      ),
  );
}
