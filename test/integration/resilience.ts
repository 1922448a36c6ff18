import { expect } from 'vitest';

import { longestPauseMs } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import type { ApiRequest } from './api-server-proxy.ts';
import { type OperatorOptions, type RunningOperator, startOperator } from './operator.ts';
import { makeProbeNamespace, type ProbeNamespace } from './probes.ts';
import { runTimes } from './run-times.ts';
import { sharedStore, targetOf, user } from './store.ts';

/** So much later a run may start where much else is done at the same time. */
export const SLACK_MS = 1_500;
/** The longest pause between two attempts to reach the API server, and some. */
export const BACK_MS = 15_000;
export const ONCE_A_DAY = { interval: '24h' };

/** With the Secret of a user of the shared store. */
export async function makeNamespace(
  ...where: Parameters<typeof makeProbeNamespace>
): Promise<ProbeNamespace> {
  const namespace = await makeProbeNamespace(...where);
  const { accessKey, secretKey } = user;
  await namespace.putSecret('probe-user', { accessKey, secretKey });
  return namespace;
}

/** One that writes each run down, so that the status tells when it was last able to. */
export function startWriter(
  { name }: ProbeNamespace,
  options: Omit<OperatorOptions, 'namespaces' | 'flags'>,
): Promise<RunningOperator> {
  return startOperator({ namespaces: [name], flags: ['--status-heartbeat=1s'], ...options });
}

/** Makes probes that run every second and every two seconds by turns, and gives their names. */
export async function makeProbes(namespace: ProbeNamespace, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, () => uniqueName('probe'));
  for (const [index, name] of names.entries()) {
    await namespace.apply(name, specOf(name, { interval: index % 2 === 0 ? '1s' : '2s' }));
  }
  return names;
}

export function specOf(name: string, schedule: object): object {
  return { schedule, targets: [targetOf(name, sharedStore.url)] };
}

export function untilAllHealthy(namespace: ProbeNamespace, names: readonly string[]): Promise<unknown> {
  return Promise.all(names.map((name) => namespace.untilHealthy(name)));
}

/** Each probe's last run in its status began after a time. */
export async function untilCaughtUp(
  namespace: ProbeNamespace,
  names: readonly string[],
  fromMs: number,
): Promise<void> {
  const isNewer = (startTime = ''): boolean => Date.parse(startTime) > fromMs;
  await Promise.all(
    names.map((name) =>
      namespace.until(
        'to tell of new runs',
        name,
        ({ status }) => isNewer(status?.lastRun?.startTime),
        BACK_MS,
      ),
    ),
  );
}

/** No pause between two runs is longer than the schedule has it, and some. */
export function expectOnSchedule(operator: RunningOperator, names: readonly string[], fromMs: number): void {
  const runs = runTimes(operator);
  const toMs = Date.now();
  const late = names.flatMap((name, index) => {
    const pauseMs = longestPauseMs(runs.get(name) ?? [], fromMs, toMs);
    return pauseMs > (index % 2 === 0 ? 1_000 : 2_000) + SLACK_MS ? `${name} paused for ${pauseMs} ms` : [];
  });
  expect(late).toEqual([]);
}

export function messagesOf(operator: RunningOperator, level: string): string[] {
  return operator.logs().flatMap((line) => (line.level === level ? [line.msg] : []));
}

export async function sum(operator: RunningOperator, ...parts: readonly string[]): Promise<number> {
  return [...(await operator.samples(...parts)).values()].reduce((total, value) => total + value, 0);
}

/** Of the Events about a probe, what they say and how often. */
export async function eventsOf(namespace: ProbeNamespace, name: string): Promise<unknown[]> {
  const events = await namespace.events(name);
  return events.map(({ reason, series }) => [reason, series?.count ?? 1]);
}

export function isListOrWatch({ method, path }: ApiRequest): boolean {
  return method === 'GET' && path.endsWith('/storageprobes');
}
