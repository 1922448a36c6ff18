import { z } from 'zod';

import { type ProbeStatus, readStatus } from '../../src/api/probe-status.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import type { KubeAccess } from './control-plane.ts';
import { askKubeFor } from './kube-api.ts';
import type { LiveText } from './live-text.ts';
import { getTable } from './table.ts';
import { waitForTrace } from './traces.ts';

export const STORAGE_PROBES_PATH = '/apis/storageprobe.dev/v1alpha1/storageprobes';
const POLL_MS = 250;
const TRACE_DEADLINE_MS = 15_000;
/** The run and its six steps; their calls come on top. */
const SPANS_AT_LEAST = 7;

const List = z.object({
  items: z.array(z.object({ metadata: z.object({ name: z.string() }), status: z.unknown().optional() })),
});

/** What is known of one StorageProbe. */
export interface WatchedProbe {
  readonly name: string;
  /** As in `Healthy=False (ConnectionRefused)`. */
  readonly health: string;
  readonly isHealthy: boolean;
  /** Ids of the traces of the last runs that passed, newest first, for each target. */
  readonly passed: readonly (readonly string[])[];
}

export interface Expectation {
  /** So many StorageProbes there are. */
  readonly probes: number;
  /** So many runs of each target have passed: at most 10, since the status knows no more. */
  readonly runs: number;
}

/** Where to look. */
export interface ProbeSource {
  /** All StorageProbes, as the API server lists them. */
  list(signal: AbortSignal): Promise<unknown>;
  /** The same, as `kubectl get sprobe -A` shows them. */
  table(signal: AbortSignal): Promise<string>;
}

export interface WatchOptions extends Expectation {
  readonly source: ProbeSource;
  /** Of Jaeger. */
  readonly queryUrl: string;
  readonly live: LiveText;
  readonly deadlineMs: number;
  /** Default 250. */
  readonly pollMs?: number;
  readonly signal: AbortSignal;
}

/** Asks an API server, without kubectl. */
export function askingFor(access: KubeAccess): ProbeSource {
  return {
    list: (signal) => askKubeFor(access, { path: STORAGE_PROBES_PATH }, signal),
    table: (signal) => getTable(access, STORAGE_PROBES_PATH, signal),
  };
}

/**
 * Shows the table of StorageProbes until all is as expected, and the traces of those runs stand in Jaeger.
 *
 * @throws Error with what is missing after `deadlineMs`, or 15 s later with how many traces have come.
 */
export async function watchProbes(options: WatchOptions): Promise<readonly WatchedProbe[]> {
  const { runs, queryUrl, signal } = options;
  const probes = await untilSettled(options);
  const traceIds = probes.flatMap(({ passed }) => passed.flatMap((ids) => ids.slice(0, runs)));
  await expectTraces(queryUrl, traceIds, signal);
  return probes;
}

async function untilSettled(options: WatchOptions): Promise<readonly WatchedProbe[]> {
  const { source, live, deadlineMs, pollMs = POLL_MS, signal } = options;
  const startedMs = systemClock.monotonicMs();
  for (;;) {
    const probes = listedProbes(await source.list(signal));
    const table = await source.table(signal);
    const missing = missingOf(probes, options);
    const isSettled = missing.length === 0;
    const news = probes.map(({ name, health }) => `${name} ${health}`).join();
    live.show(table, isSettled ? 'settled' : news);
    if (isSettled) return probes;
    if (systemClock.monotonicMs() - startedMs > deadlineMs)
      throw new Error(`after ${deadlineMs / 1_000} s: ${missing.join('; ')}`);
    await systemClock.sleep(pollMs, signal);
  }
}

function listedProbes(list: unknown): WatchedProbe[] {
  return List.parse(list).items.map(({ metadata: { name }, status }) =>
    watchedProbe(name, readStatus(status) ?? {}),
  );
}

/** What its status tells of a StorageProbe. */
export function watchedProbe(name: string, { conditions = [], targets = [] }: ProbeStatus): WatchedProbe {
  const healthy = conditions.find(({ type }) => type === 'Healthy');
  return {
    name,
    health: healthy === undefined ? 'not taken up yet' : `Healthy=${healthy.status} (${healthy.reason})`,
    isHealthy: healthy?.status === 'True',
    passed: targets.map(({ recentRuns = [] }) =>
      recentRuns.filter(({ verdict }) => verdict === 'Passed').map(({ traceId }) => traceId),
    ),
  };
}

/** What is not as expected, in words; empty when all is. */
export function missingOf(found: readonly WatchedProbe[], { probes, runs }: Expectation): string[] {
  const missing = found.length < probes ? [`${found.length} of ${probes} StorageProbes are there`] : [];
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
      await waitForTrace(queryUrl, traceId, { signal: waiting, spans: SPANS_AT_LEAST });
      arrived++;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
    throw new Error(`${arrived} of ${traceIds.length} traces stand in Jaeger`, { cause: error });
  }
}
