import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  BUNDLE,
  type Metrics,
  OperatorProcess,
  type Run,
  SOURCE,
  until,
  type Usage,
} from './operator/operator-process.ts';
import {
  countStateChanges,
  isWithin,
  type Punctuality,
  punctuality,
  type TimeWindow,
} from './operator/punctuality.ts';
import { type Probe, type Stack, startStack } from './operator/stack.ts';
import { nowUs, printProfile, profilerArgs } from './profile.ts';
import { quantile, type Spread, spreadOf } from './statistics.ts';
import { formatTable } from './table.ts';

const SECOND_MS = 1_000;
const MEGABYTE = 1e6;

const START_COUNT = 5;
const IDLE_MS = 5 * SECOND_MS;

/** Scrapes are part of the load, at an interval typical of Prometheus. */
const SCRAPE_INTERVAL_MS = 30 * SECOND_MS;
const SAMPLE_INTERVAL_MS = SECOND_MS;
const INITIAL_RECONCILE_TIMEOUT_MS = 180 * SECOND_MS;
/** Scraping many probes is expensive, so frequent polling would slow down the operator. */
const INITIAL_RECONCILE_POLL_MS = 2 * SECOND_MS;
/** Maximum depth of the work queue when it contains only keys added by runs. */
const MAX_SETTLED_DEPTH = 100;
const MAX_PROBLEM_LINES_SHOWN = 3;
/** A run that starts later than this after a due time is not matched to it. */
const MAX_LAG_MS = 5 * SECOND_MS;
/** Source: the default of `--status-heartbeat`. */
const HEARTBEAT_MS = 60 * SECOND_MS;
/** Source: the default of the lease elector. */
const LEASE_RENEWAL_MS = 2 * SECOND_MS;
/** One run, six steps and eight calls. */
const SPANS_PER_RUN = 15;

interface Scenario {
  readonly probes: number;
  readonly interval: string;
  readonly intervalMs: number;
  /** Delay between the initial reconciliation and the measurement. */
  readonly settleMs: number;
  readonly measureMs: number;
  readonly goals: Readonly<Partial<Record<'lagMs' | 'peakRssBytes' | 'writes', number>>>;
}

const SCENARIOS = {
  '1000-probes': {
    probes: 1_000,
    interval: '30s',
    intervalMs: 30 * SECOND_MS,
    settleMs: 45 * SECOND_MS,
    measureMs: 2 * HEARTBEAT_MS,
    goals: { lagMs: 250, peakRssBytes: 200_000_000, writes: 1 },
  },
  '10000-probes': {
    probes: 10_000,
    interval: '5m',
    intervalMs: 300 * SECOND_MS,
    settleMs: 0,
    measureMs: 90 * SECOND_MS,
    goals: {},
  },
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;

export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];

/** Measures the operator at startup, idle and under load, and prints the results. */
export async function benchOperator(
  names: readonly ScenarioName[],
  { isProfiled }: { readonly isProfiled: boolean },
): Promise<void> {
  if (!existsSync(BUNDLE)) {
    console.log('SKIPPED the operator because dist/main.mjs is missing; run npm run build first');
    return;
  }
  await using stack = await startStack();
  if (isProfiled) {
    for (const name of names) await profileScenario(stack, SCENARIOS[name]);
    return;
  }
  console.log(`\nOperator startup\n${formatFigures(await measureStarts(stack))}`);
  for (const name of names) {
    const scenario: Scenario = SCENARIOS[name];
    console.log(`\nOperator with ${titleOf(scenario)}`);
    console.log(formatFigures(await measureScenario(stack, scenario)));
  }
}

interface Figure {
  readonly label: string;
  readonly measured: string;
  /** Absent if there is no goal. */
  readonly goal?: { readonly text: string; readonly isMet: boolean };
}

async function measureStarts(stack: Stack): Promise<Figure[]> {
  const readyMs: number[] = [];
  const firstRunMs: number[] = [];
  let idle: Usage | undefined;
  for (let i = 0; i < START_COUNT; i++) {
    const startMs = performance.now();
    await using operator = await OperatorProcess.start(stack);
    await operator.untilReady();
    readyMs.push(performance.now() - startMs);
    if (i === 0) {
      await sleep(IDLE_MS);
      idle = await operator.usage();
    }
    const appliedMs = Date.now();
    await stack.createProbes(`first-${i}`, 1, '5m');
    await until('the first run', MAX_LAG_MS, () => operator.runs.length > 0);
    firstRunMs.push((operator.runs[0]?.startMs ?? NaN) - appliedMs);
    await stack.deleteProbes();
  }
  return [
    { label: 'process start to ready', measured: formatSpread(spreadOf(readyMs)) },
    { label: 'apply to start of the first run', measured: formatSpread(spreadOf(firstRunMs)) },
    {
      label: `RSS without probes, after ${IDLE_MS / SECOND_MS} s`,
      measured: megabytes(idle?.rssBytes ?? NaN),
    },
  ];
}

async function measureScenario(stack: Stack, scenario: Scenario): Promise<Figure[]> {
  const { probes: count, interval, settleMs, measureMs } = scenario;
  const probes = await stack.createProbes('probe', count, interval);
  const startMs = performance.now();
  await using operator = await OperatorProcess.start(stack);
  await operator.untilReady();
  const readyMs = performance.now() - startMs;
  await until(
    'all probes to be scheduled and their statuses to be written',
    INITIAL_RECONCILE_TIMEOUT_MS,
    async () => {
      const metrics = await operator.metrics();
      const depth = metrics.sum('workqueue_depth');
      return metrics.sum('storage_probe_targets') === count && depth < MAX_SETTLED_DEPTH;
    },
    INITIAL_RECONCILE_POLL_MS,
  );
  const scheduledMs = performance.now() - startMs;
  await sleep(settleMs);
  const measured = await measure(operator, measureMs);
  await sleep(MAX_LAG_MS);
  return [
    { label: 'process start to ready', measured: seconds(readyMs) },
    {
      label: 'process start to all probes scheduled and statuses written',
      measured: seconds(scheduledMs),
    },
    ...figuresOf(scenario, probes, operator.runs, measured),
    ...(await measureDeletion(stack, operator)),
  ];
}

/** Runs the operator from source, so that the profile shows functions and packages. */
async function profileScenario(stack: Stack, scenario: Scenario): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'storage-probe-profile-operator-'));
  const operator = await OperatorProcess.start(stack, { main: SOURCE, nodeArgs: profilerArgs(dir) });
  await stack.createProbes('probe', scenario.probes, scenario.interval);
  await operator.untilReady();
  await sleep(scenario.settleMs);
  const sinceUs = nowUs();
  const { window, usage } = await measure(operator, scenario.measureMs);
  const untilUs = nowUs();
  const runs = operator.runs.filter((run) => isWithin(run, window)).length;
  await operator.stop();
  await stack.deleteProbes();
  const cpuMs = usage.after.cpuMs - usage.before.cpuMs;
  await printProfile(dir, { name: titleOf(scenario), runs, cpuMs, sinceUs, untilUs });
}

function titleOf({ probes, interval }: Scenario): string {
  return `${probes} probes every ${interval}`;
}

interface LoadMeasurement {
  readonly window: TimeWindow;
  readonly metrics: { readonly before: Metrics; readonly after: Metrics };
  readonly usage: { readonly before: Usage; readonly after: Usage };
  readonly rssBytes: readonly number[];
}

async function measure(operator: OperatorProcess, durationMs: number): Promise<LoadMeasurement> {
  const metricsBefore = await operator.metrics();
  const usageBefore = await operator.usage();
  const fromMs = Date.now();
  const toMs = fromMs + durationMs;
  const rssBytes: number[] = [];
  let scrapeAtMs = fromMs + SCRAPE_INTERVAL_MS;
  while (Date.now() < toMs) {
    await sleep(SAMPLE_INTERVAL_MS);
    rssBytes.push((await operator.usage()).rssBytes);
    if (Date.now() < scrapeAtMs) continue;
    scrapeAtMs += SCRAPE_INTERVAL_MS;
    await operator.metrics();
  }
  const usageAfter = await operator.usage();
  return {
    window: { fromMs, toMs: Date.now() },
    metrics: { before: metricsBefore, after: await operator.metrics() },
    usage: { before: usageBefore, after: usageAfter },
    rssBytes,
  };
}

function figuresOf(
  { intervalMs, goals }: Scenario,
  probes: readonly Probe[],
  allRuns: readonly Run[],
  { window, metrics, usage, rssBytes }: LoadMeasurement,
): Figure[] {
  const durationMs = window.toMs - window.fromMs;
  const runs = allRuns.filter((run) => isWithin(run, window));
  const failed = runs.filter(({ verdict }) => verdict !== 'Passed').length;
  const found = punctuality(probes, intervalMs, allRuns, window, MAX_LAG_MS);
  const increase = (name: string, ...labels: string[]): number =>
    metrics.after.sum(name, ...labels) - metrics.before.sum(name, ...labels);

  const requests = 'rest_client_requests_total';
  const [patches = 0, posts = 0, puts = 0, gets = 0] = ['PATCH', 'POST', 'PUT', 'GET'].map((method) =>
    increase(requests, `method="${method}"`),
  );
  const changes = countStateChanges(allRuns, window);
  const heartbeats = Math.min(runs.length - changes, (probes.length * durationMs) / HEARTBEAT_MS);
  const writes = patches + posts + puts;
  const expectedWrites = 2 * changes + heartbeats + durationMs / LEASE_RENEWAL_MS;
  const spans = increase('storage_probe_spans_exported_total');
  const peakRssBytes = usage.after.peakRssBytes;
  const meanRssBytes = rssBytes.reduce((sum, bytes) => sum + bytes, 0) / rssBytes.length;
  return [
    {
      label: 'runs; failed runs',
      measured: `${runs.length} in ${seconds(durationMs)}; ${failed}`,
      goal: exactGoal(failed, 0),
    },
    ...punctualityFigures(found, goals.lagMs),
    {
      label: 'coalesced, missed (as counted by the operator)',
      measured: `${increase('storage_probe_ticks_coalesced_total')}, ${increase('storage_probe_runs_missed_total')}`,
    },
    {
      label: 'CPU per run, share of one core',
      measured: `${((usage.after.cpuMs - usage.before.cpuMs) / runs.length).toFixed(2)} ms, ${percent((usage.after.cpuMs - usage.before.cpuMs) / durationMs)}`,
    },
    { label: 'mean RSS', measured: megabytes(meanRssBytes) },
    {
      label: 'peak RSS since start',
      measured: megabytes(peakRssBytes),
      ...(goals.peakRssBytes !== undefined && {
        goal: { text: `< ${megabytes(goals.peakRssBytes)}`, isMet: peakRssBytes < goals.peakRssBytes },
      }),
    },
    {
      label: 'API writes: status, Lease, Events',
      measured: `${patches}, ${puts}, ${posts}`,
    },
    {
      // A state change causes two writes: the status and an Event.
      label: 'API writes vs. expected for state changes, heartbeats and Lease',
      measured: `${writes} vs. ${Math.round(expectedWrites)}: ${(writes / expectedWrites).toFixed(2)}`,
      ...(goals.writes !== undefined && {
        // Compared at two decimals, as displayed.
        goal: {
          text: `≤ ${goals.writes}`,
          isMet: Math.round((writes / expectedWrites) * 100) <= goals.writes * 100,
        },
      }),
    },
    {
      label: 'Events dropped since start',
      measured: `${metrics.after.sum('storage_probe_events_dropped_total')}`,
    },
    { label: 'API reads per run', measured: (gets / runs.length).toFixed(2) },
    {
      label: 'spans delivered per run; dropped',
      measured: `${(spans / runs.length).toFixed(2)} of ${SPANS_PER_RUN}; ${increase('storage_probe_spans_dropped_total')}`,
      goal: exactGoal(increase('storage_probe_spans_dropped_total'), 0),
    },
  ];
}

function punctualityFigures(
  { due, missed, duplicates, lagsMs }: Punctuality,
  goalMs: number | undefined,
): Figure[] {
  const [median = NaN, p99 = NaN, worst = NaN] = [0.5, 0.99, 1].map((q) => quantile(lagsMs, q));
  return [
    {
      label: 'due times; without a run, with extra runs',
      measured: `${due}; ${missed}, ${duplicates}`,
      goal: exactGoal(missed + duplicates, 0),
    },
    {
      label: 'start lag: median, p99, worst',
      measured: [median, p99, worst].map((ms) => `${Math.round(ms)} ms`).join(', '),
      ...(goalMs !== undefined && { goal: { text: `p99 < ${goalMs} ms`, isMet: p99 < goalMs } }),
    },
  ];
}

async function measureDeletion(stack: Stack, operator: OperatorProcess): Promise<Figure[]> {
  const startMs = performance.now();
  await stack.deleteProbes();
  const deletedMs = performance.now() - startMs;
  let remaining = Infinity;
  await until(
    'all series to be removed',
    60 * SECOND_MS,
    async () => {
      const metrics = await operator.metrics();
      remaining = metrics.count('probe="') + metrics.sum('storage_probe_targets');
      return remaining === 0;
    },
    SECOND_MS / 4,
  );
  const removedMs = performance.now() - startMs;
  await sleep(IDLE_MS);
  const { rssBytes } = await operator.usage();
  const { problemLines } = operator;
  for (const line of problemLines.slice(0, MAX_PROBLEM_LINES_SHOWN)) console.log(line);
  return [
    {
      label: 'time to delete all probes; then to remove all series',
      measured: `${seconds(deletedMs)}; ${seconds(removedMs - deletedMs)}`,
    },
    { label: `RSS ${IDLE_MS / SECOND_MS} s later`, measured: megabytes(rssBytes) },
    {
      label: 'warnings and errors in the log',
      measured: `${problemLines.length}`,
      goal: exactGoal(problemLines.length, 0),
    },
  ];
}

function exactGoal(value: number, goal: number): NonNullable<Figure['goal']> {
  return { text: `${goal}`, isMet: value === goal };
}

function formatFigures(figures: readonly Figure[]): string {
  return formatTable([
    ['', 'measured', 'goal'],
    ...figures.map(({ label, measured, goal }) => [
      label,
      measured,
      goal === undefined ? '' : `${goal.text}, ${goal.isMet ? 'met' : 'missed'}`,
    ]),
  ]);
}

function formatSpread({ median, min, max }: Spread): string {
  return `${median.toFixed(0)} ms (${min.toFixed(0)}–${max.toFixed(0)})`;
}

function seconds(ms: number): string {
  return `${(ms / SECOND_MS).toFixed(1)} s`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / MEGABYTE)} MB`;
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(0)} %`;
}
