import { z } from 'zod';

import { type ProbeStatus, readStatus } from '../../src/api/probe-status.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import type { KubeAccess } from './control-plane.ts';
import { requestKubeBody } from './kube-api.ts';
import type { LiveText } from './live-text.ts';
import { getTable } from './table.ts';
import { waitForTrace } from './traces.ts';

export const STORAGE_PROBES_PATH = '/apis/storageprobe.dev/v1alpha1/storageprobes';
const POLL_MS = 250;
const TRACE_DEADLINE_MS = 15_000;
/** The root span and one span per step, not counting calls. */
const MIN_SPANS = 7;

const List = z.object({
  items: z.array(z.object({ metadata: z.object({ name: z.string() }), status: z.unknown().optional() })),
});

/** The state of one StorageProbe. */
export interface WatchedProbe {
  readonly name: string;
  /** For example `Healthy=False (ConnectionRefused)`. */
  readonly health: string;
  readonly isHealthy: boolean;
  /** For each target, the trace IDs of its recent passed runs, newest first. */
  readonly passed: readonly (readonly string[])[];
}

export interface Expectation {
  /** Number of StorageProbes. */
  readonly probes: number;
  /** Number of passed runs per target. At most 10, the number of runs that the status keeps. */
  readonly runs: number;
}

/** Source of the StorageProbes. */
export interface ProbeSource {
  /** The API server's list of all StorageProbes. */
  list(signal: AbortSignal): Promise<unknown>;
  /** The output of `kubectl get sprobe -A`. */
  table(signal: AbortSignal): Promise<string>;
}

export interface WatchOptions extends Expectation {
  readonly source: ProbeSource;
  /** Base URL of Jaeger's query API. */
  readonly queryUrl: string;
  readonly live: LiveText;
  readonly deadlineMs: number;
  /** Default 250. */
  readonly pollMs?: number;
  readonly signal: AbortSignal;
}

/** Reads from the API server directly, without kubectl. */
export function apiServerSource(access: KubeAccess): ProbeSource {
  return {
    list: (signal) => requestKubeBody(access, { path: STORAGE_PROBES_PATH }, signal),
    table: (signal) => getTable(access, STORAGE_PROBES_PATH, signal),
  };
}

/**
 * Shows the table of StorageProbes until the expectation is met, then waits until the traces of the expected runs are
 * in Jaeger.
 *
 * @throws Error that lists what is still missing after `deadlineMs`, or how many traces arrived within another 15 s.
 */
export async function watchProbes(options: WatchOptions): Promise<readonly WatchedProbe[]> {
  const { runs, queryUrl, signal } = options;
  const probes = await waitUntilSettled(options);
  const traceIds = probes.flatMap(({ passed }) => passed.flatMap((ids) => ids.slice(0, runs)));
  await expectTraces(queryUrl, traceIds, signal);
  return probes;
}

async function waitUntilSettled(options: WatchOptions): Promise<readonly WatchedProbe[]> {
  const { source, live, deadlineMs, pollMs = POLL_MS, signal } = options;
  const startedMs = systemClock.monotonicMs();
  for (;;) {
    const probes = listedProbes(await source.list(signal));
    const table = await source.table(signal);
    const missing = findMissing(probes, options);
    const isSettled = missing.length === 0;
    const state = probes.map(({ name, health }) => `${name} ${health}`).join();
    live.show(table, isSettled ? 'settled' : state);
    if (isSettled) return probes;
    if (systemClock.monotonicMs() - startedMs > deadlineMs)
      throw new Error(`not ready after ${deadlineMs / 1_000} s: ${missing.join('; ')}`);
    await systemClock.sleep(pollMs, signal);
  }
}

function listedProbes(list: unknown): WatchedProbe[] {
  return List.parse(list).items.map(({ metadata: { name }, status }) =>
    toWatchedProbe(name, readStatus(status) ?? {}),
  );
}

export function toWatchedProbe(name: string, { conditions = [], targets = [] }: ProbeStatus): WatchedProbe {
  const healthy = conditions.find(({ type }) => type === 'Healthy');
  return {
    name,
    health: healthy === undefined ? 'no status yet' : `Healthy=${healthy.status} (${healthy.reason})`,
    isHealthy: healthy?.status === 'True',
    passed: targets.map(({ recentRuns = [] }) =>
      recentRuns.filter(({ verdict }) => verdict === 'Passed').map(({ traceId }) => traceId),
    ),
  };
}

/** Describes each unmet expectation. Empty if all are met. */
export function findMissing(found: readonly WatchedProbe[], { probes, runs }: Expectation): string[] {
  const missing = found.length < probes ? [`${found.length} of ${probes} StorageProbes exist`] : [];
  for (const { name, health, isHealthy, passed } of found) {
    const count = passed.length === 0 ? 0 : Math.min(...passed.map((ids) => ids.length));
    if (isHealthy && count >= runs) continue;
    missing.push(`${name}: ${health}, ${count} of ${runs} runs passed`);
  }
  return missing;
}

async function expectTraces(
  queryUrl: string,
  traceIds: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const deadline = AbortSignal.timeout(TRACE_DEADLINE_MS);
  const waiting = AbortSignal.any([signal, deadline]);
  let arrived = 0;
  try {
    for (const traceId of traceIds) {
      await waitForTrace(queryUrl, traceId, { signal: waiting, spans: MIN_SPANS });
      arrived++;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
    throw new Error(`only ${arrived} of ${traceIds.length} traces arrived in Jaeger`, { cause: error });
  }
}
