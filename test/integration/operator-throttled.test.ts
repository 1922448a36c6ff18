import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it, onTestFinished } from 'vitest';

import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type ApiRequest, startApiServerProxy } from './api-server-proxy.ts';
import { runCount, untilMoreRuns } from './probes.ts';
import {
  expectOnSchedule,
  isListOrWatch,
  createNamespace,
  createProbes,
  messagesOf,
  ONCE_A_DAY,
  SLACK_MS,
  specOf,
  startFastStatusOperator,
  untilAllHealthy,
  untilCaughtUp,
} from './resilience.ts';

const { kube } = inject('servers');

async function newKubeconfigPath(): Promise<string> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-throttled-'));
  onTestFinished(() => dir.remove());
  return join(dir.path, 'kubeconfig');
}

it('notices changes quickly and with few requests if every watch is closed after a second', async () => {
  const namespace = await createNamespace('short-watches');
  const kubeconfigFile = await newKubeconfigPath();
  await using proxy = await startApiServerProxy(kube, kube.operatorKubeconfigFile, kubeconfigFile);
  proxy.fault = ({ isWatch }) => (isWatch ? { endAfterMs: 1_000 } : undefined);
  await using operator = await startFastStatusOperator(namespace, { kubeconfigFile });
  const fromMs = performance.now();
  const delaysMs: number[] = [];
  for (let change = 0; change < 10; change += 1) {
    await until('a pause between two watches', 10_000, () => {
      const watches = proxy.requests.filter((request) => request.isWatch && isListOrWatch(request));
      return watches.at(-1)?.isClosed;
    });
    const name = uniqueName('probe');
    const appliedMs = performance.now();
    await namespace.apply(name, specOf(name, ONCE_A_DAY));
    await until('the first run', 10_000, async () => (await runCount(operator, name)) === 1);
    delaysMs.push(performance.now() - appliedMs);
  }
  const seconds = (performance.now() - fromMs) / 1_000;
  const probeRequests = proxy.requests.filter(
    (request) => isListOrWatch(request) && request.arrivedMs > fromMs,
  );
  expect(Math.max(...delaysMs)).toBeLessThan(2_000 + SLACK_MS);
  expect(probeRequests.length / seconds).toBeLessThan(1);
  expect(probeRequests.filter(({ isWatch }) => !isWatch)).toEqual([]);
});

it(
  'works when half of its requests are throttled, and honours Retry-After',
  { timeout: 120_000 },
  async () => {
    const namespace = await createNamespace('throttled');
    const kubeconfigFile = await newKubeconfigPath();
    await using proxy = await startApiServerProxy(kube, kube.operatorKubeconfigFile, kubeconfigFile);
    let count = 0;
    proxy.fault = () => ((count += 1) % 2 === 0 ? { status: 429, retryAfterSeconds: 1 } : undefined);
    await using operator = await startFastStatusOperator(namespace, { kubeconfigFile });
    const names = await createProbes(namespace, 6);
    await untilAllHealthy(namespace, names);
    const fromMs = Date.now();
    await Promise.all(names.map((name) => untilMoreRuns(operator, name, 4)));
    expectOnSchedule(operator, names, fromMs);
    await untilCaughtUp(namespace, names, Date.now());

    const rejected = proxy.requests.filter(({ isRejected }) => isRejected);
    expect(rejected.length).toBeGreaterThan(10);
    // Only requests that were cancelled while waiting are repeated early.
    expect(earlyRetries(proxy.requests).length).toBeLessThan(rejected.length / 5);
    expect(messagesOf(operator, 'warn')).not.toContain('lost leadership');
  },
);

/** Requests that repeat a request rejected less than a second before. */
function earlyRetries(requests: readonly ApiRequest[]): ApiRequest[] {
  return requests.filter((request, index) =>
    requests
      .slice(0, index)
      .some(
        ({ isRejected, method, path, arrivedMs }) =>
          isRejected &&
          method === request.method &&
          path === request.path &&
          request.arrivedMs - arrivedMs < 950,
      ),
  );
}
