import { expect } from 'vitest';

import { longestPauseMs } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import type { ApiRequest } from './api-server-proxy.ts';
import { type OperatorOptions, type RunningOperator, startOperator } from './operator.ts';
import { createProbeNamespace, type ProbeNamespace } from './probes.ts';
import { runTimes } from './run-times.ts';
import { sharedStore, targetOf, user } from './store.ts';

/** How late a run may start on a busy machine. */
export const SLACK_MS = 1_500;
/** Longer than the operator's longest back-off for the API server. */
export const RECOVERY_MS = 15_000;
export const ONCE_A_DAY = { interval: '24h' };

/** Creates a namespace with the Secret of a user of the shared store. */
export async function createNamespace(
  ...args: Parameters<typeof createProbeNamespace>
): Promise<ProbeNamespace> {
  const namespace = await createProbeNamespace(...args);
  const { accessKey, secretKey } = user;
  await namespace.putSecret('probe-user', { accessKey, secretKey });
  return namespace;
}

/** Starts an operator that updates status after each run, so that status shows when a write last succeeded. */
export function startFastStatusOperator(
  { name }: ProbeNamespace,
  options: Omit<OperatorOptions, 'namespaces' | 'flags'>,
): Promise<RunningOperator> {
  return startOperator({ namespaces: [name], flags: ['--status-heartbeat=1s'], ...options });
}

/** Creates probes that alternate between intervals of 1s and 2s. Returns their names. */
export async function createProbes(namespace: ProbeNamespace, count: number): Promise<string[]> {
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

/** Waits until each probe's status has a last run that started after `fromMs`. */
export async function untilCaughtUp(
  namespace: ProbeNamespace,
  names: readonly string[],
  fromMs: number,
): Promise<void> {
  const isNewer = (startTime = ''): boolean => Date.parse(startTime) > fromMs;
  await Promise.all(
    names.map((name) =>
      namespace.until(
        'to report new runs',
        name,
        ({ status }) => isNewer(status?.lastRun?.startTime),
        RECOVERY_MS,
      ),
    ),
  );
}

/** Expects no pause between runs longer than the interval of {@link createProbes} plus {@link SLACK_MS}. */
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

export async function sumOfSamples(operator: RunningOperator, ...parts: readonly string[]): Promise<number> {
  return [...(await operator.samples(...parts)).values()].reduce((total, value) => total + value, 0);
}

/** `[reason, count]` of each Event about a probe. */
export async function eventCounts(namespace: ProbeNamespace, name: string): Promise<unknown[]> {
  const events = await namespace.events(name);
  return events.map(({ reason, series }) => [reason, series?.count ?? 1]);
}

export function isListOrWatch({ method, path }: ApiRequest): boolean {
  return method === 'GET' && path.endsWith('/storageprobes');
}
