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
  changesOfState,
  isWithin,
  type Punctuality,
  punctuality,
  type Stretch,
} from './operator/punctuality.ts';
import { type Probe, type Stack, startStack } from './operator/stack.ts';
import { nowUs, printProfile, profilerArgs } from './profile.ts';
import { quantile, type Spread, spreadOf } from './statistics.ts';
import { formatTable } from './table.ts';

const SECOND_MS = 1_000;
const MEGABYTE = 1e6;

const STARTS = 5;
const IDLE_MS = 5 * SECOND_MS;

/** As Prometheus does it: a scrape belongs to the load. */
const SCRAPE_MS = 30 * SECOND_MS;
const SAMPLE_MS = SECOND_MS;
const TAKE_UP_TIMEOUT_MS = 180 * SECOND_MS;
/** A scrape of many probes is work: to ask often would slow down what is measured. */
const TAKE_UP_POLL_MS = 2 * SECOND_MS;
/** Of the work queue, once it holds only what the runs bring. */
const MAX_SETTLED_DEPTH = 100;
const COMPLAINTS_SHOWN = 3;
/** Later than this, a run is that of no due time. */
const MAX_LAG_MS = 5 * SECOND_MS;
/** Source: the default of `--status-heartbeat`. */
const HEARTBEAT_MS = 60 * SECOND_MS;
/** Source: the default of the lease elector. */
const LEASE_RENEWAL_MS = 2 * SECOND_MS;
/** The run, its six steps, eight calls. */
const SPANS_PER_RUN = 15;

interface Scenario {
  readonly probes: number;
  readonly interval: string;
  readonly intervalMs: number;
  /** From when all is scheduled to when measuring begins. */
  readonly settleMs: number;
  readonly measureMs: number;
  readonly aims: Readonly<Partial<Record<'lagMs' | 'peakRssBytes' | 'writes', number>>>;
}

const SCENARIOS = {
  '1000-probes': {
    probes: 1_000,
    interval: '30s',
    intervalMs: 30 * SECOND_MS,
    settleMs: 45 * SECOND_MS,
    measureMs: 2 * HEARTBEAT_MS,
    aims: { lagMs: 250, peakRssBytes: 200_000_000, writes: 1 },
  },
  '10000-probes': {
    probes: 10_000,
    interval: '5m',
    intervalMs: 300 * SECOND_MS,
    settleMs: 0,
    measureMs: 90 * SECOND_MS,
    aims: {},
  },
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;

export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];

/** Prints what the operator costs, at rest and at work. */
export async function benchOperator(
  names: readonly ScenarioName[],
  { isProfiled }: { readonly isProfiled: boolean },
): Promise<void> {
  if (!existsSync(BUNDLE)) {
    console.log('SKIPPED the operator: there is no dist/main.mjs (npm run build)');
    return;
  }
  await using stack = await startStack();
  if (isProfiled) {
    for (const name of names) await profileScenario(stack, SCENARIOS[name]);
    return;
  }
  console.log(`\nThe operator, from its start\n${formatFigures(await measureStarts(stack))}`);
  for (const name of names) {
    const scenario: Scenario = SCENARIOS[name];
    console.log(`\nThe operator with ${titleOf(scenario)}`);
    console.log(formatFigures(await measureScenario(stack, scenario)));
  }
}

interface Figure {
  readonly what: string;
  readonly measured: string;
  /** Absent: none was set. */
  readonly aim?: { readonly text: string; readonly isMet: boolean };
}

async function measureStarts(stack: Stack): Promise<Figure[]> {
  const readyMs: number[] = [];
  const firstRunMs: number[] = [];
  let idle: Usage | undefined;
  for (let i = 0; i < STARTS; i++) {
    const startMs = performance.now();
    await using operator = await OperatorProcess.start(stack);
    await operator.untilReady();
    readyMs.push(performance.now() - startMs);
    if (i === 0) {
      await sleep(IDLE_MS);
      idle = await operator.usage();
    }
    const appliedMs = Date.now();
    await stack.makeProbes(`first-${i}`, 1, '5m');
    await until('the first run', MAX_LAG_MS, () => operator.runs.length > 0);
    firstRunMs.push((operator.runs[0]?.startMs ?? NaN) - appliedMs);
    await stack.deleteProbes();
  }
  return [
    { what: 'from the start of the process to ready', measured: formatSpread(spreadOf(readyMs)) },
    { what: 'from apply to the start of the first run', measured: formatSpread(spreadOf(firstRunMs)) },
    {
      what: `RSS without a probe, after ${IDLE_MS / SECOND_MS} s`,
      measured: megabytes(idle?.rssBytes ?? NaN),
    },
  ];
}

async function measureScenario(stack: Stack, scenario: Scenario): Promise<Figure[]> {
  const { probes: count, interval, settleMs, measureMs } = scenario;
  const probes = await stack.makeProbes('probe', count, interval);
  const startMs = performance.now();
  await using operator = await OperatorProcess.start(stack);
  await operator.untilReady();
  const readyMs = performance.now() - startMs;
  await until(
    'all to be scheduled and written down',
    TAKE_UP_TIMEOUT_MS,
    async () => {
      const metrics = await operator.metrics();
      const depth = metrics.sum('workqueue_depth');
      return metrics.sum('storage_probe_targets') === count && depth < MAX_SETTLED_DEPTH;
    },
    TAKE_UP_POLL_MS,
  );
  const scheduledMs = performance.now() - startMs;
  await sleep(settleMs);
  const measured = await measure(operator, measureMs);
  await sleep(MAX_LAG_MS);
  return [
    { what: 'from the start of the process to ready', measured: seconds(readyMs) },
    {
      what: 'from the start of the process to all scheduled, their statuses written',
      measured: seconds(scheduledMs),
    },
    ...figuresOf(scenario, probes, operator.runs, measured),
    ...(await measureDeletion(stack, operator)),
  ];
}

/** From its sources, so that functions and packages show. */
async function profileScenario(stack: Stack, scenario: Scenario): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'storage-probe-profile-operator-'));
  const operator = await OperatorProcess.start(stack, { main: SOURCE, nodeArgs: profilerArgs(dir) });
  await stack.makeProbes('probe', scenario.probes, scenario.interval);
  await operator.untilReady();
  await sleep(scenario.settleMs);
  const sinceUs = nowUs();
  const { stretch, usage } = await measure(operator, scenario.measureMs);
  const untilUs = nowUs();
  const runs = operator.runs.filter((run) => isWithin(run, stretch)).length;
  await operator.stop();
  await stack.deleteProbes();
  const cpuMs = usage.after.cpuMs - usage.before.cpuMs;
  await printProfile(dir, { name: titleOf(scenario), runs, cpuMs, sinceUs, untilUs });
}

function titleOf({ probes, interval }: Scenario): string {
  return `${probes} probes every ${interval}`;
}

interface Measured {
  readonly stretch: Stretch;
  readonly metrics: { readonly before: Metrics; readonly after: Metrics };
  readonly usage: { readonly before: Usage; readonly after: Usage };
  readonly rssBytes: readonly number[];
}

async function measure(operator: OperatorProcess, durationMs: number): Promise<Measured> {
  const metricsBefore = await operator.metrics();
  const usageBefore = await operator.usage();
  const fromMs = Date.now();
  const toMs = fromMs + durationMs;
  const rssBytes: number[] = [];
  let scrapeAtMs = fromMs + SCRAPE_MS;
  while (Date.now() < toMs) {
    await sleep(SAMPLE_MS);
    rssBytes.push((await operator.usage()).rssBytes);
    if (Date.now() < scrapeAtMs) continue;
    scrapeAtMs += SCRAPE_MS;
    await operator.metrics();
  }
  const usageAfter = await operator.usage();
  return {
    stretch: { fromMs, toMs: Date.now() },
    metrics: { before: metricsBefore, after: await operator.metrics() },
    usage: { before: usageBefore, after: usageAfter },
    rssBytes,
  };
}

function figuresOf(
  { intervalMs, aims }: Scenario,
  probes: readonly Probe[],
  allRuns: readonly Run[],
  { stretch, metrics, usage, rssBytes }: Measured,
): Figure[] {
  const durationMs = stretch.toMs - stretch.fromMs;
  const runs = allRuns.filter((run) => isWithin(run, stretch));
  const failed = runs.filter(({ verdict }) => verdict !== 'Passed').length;
  const kept = punctuality(probes, intervalMs, allRuns, stretch, MAX_LAG_MS);
  const grown = (name: string, ...labels: string[]): number =>
    metrics.after.sum(name, ...labels) - metrics.before.sum(name, ...labels);

  const requests = 'rest_client_requests_total';
  const [patches = 0, posts = 0, puts = 0, gets = 0] = ['PATCH', 'POST', 'PUT', 'GET'].map((method) =>
    grown(requests, `method="${method}"`),
  );
  const changes = changesOfState(allRuns, stretch);
  const heartbeats = Math.min(runs.length - changes, (probes.length * durationMs) / HEARTBEAT_MS);
  const writes = patches + posts + puts;
  const allowed = 2 * changes + heartbeats + durationMs / LEASE_RENEWAL_MS;
  const spans = grown('storage_probe_spans_exported_total');
  const peakRssBytes = usage.after.peakRssBytes;
  const meanRssBytes = rssBytes.reduce((sum, bytes) => sum + bytes, 0) / rssBytes.length;
  return [
    {
      what: 'runs; failed',
      measured: `${runs.length} in ${seconds(durationMs)}; ${failed}`,
      aim: aimed(failed, 0),
    },
    ...punctualityFigures(kept, aims.lagMs),
    {
      what: 'coalesced, missed by its own count',
      measured: `${grown('storage_probe_ticks_coalesced_total')}, ${grown('storage_probe_runs_missed_total')}`,
    },
    {
      what: 'CPU a run, of one core',
      measured: `${((usage.after.cpuMs - usage.before.cpuMs) / runs.length).toFixed(2)} ms, ${percent((usage.after.cpuMs - usage.before.cpuMs) / durationMs)}`,
    },
    { what: 'RSS, mean', measured: megabytes(meanRssBytes) },
    {
      what: 'RSS, peak since the start',
      measured: megabytes(peakRssBytes),
      ...(aims.peakRssBytes !== undefined && {
        aim: { text: `< ${megabytes(aims.peakRssBytes)}`, isMet: peakRssBytes < aims.peakRssBytes },
      }),
    },
    {
      what: 'API writes: statuses, Lease, Events',
      measured: `${patches}, ${puts}, ${posts}`,
    },
    {
      // Of a change of state, the status and an Event.
      what: 'API writes to those of changes of state, heartbeats and Lease',
      measured: `${writes} to ${Math.round(allowed)}: ${(writes / allowed).toFixed(2)}`,
      ...(aims.writes !== undefined && {
        // To two decimals, as it is shown.
        aim: { text: `≤ ${aims.writes}`, isMet: Math.round((writes / allowed) * 100) <= aims.writes * 100 },
      }),
    },
    {
      what: 'Events dropped, since the start',
      measured: `${metrics.after.sum('storage_probe_events_dropped_total')}`,
    },
    { what: 'API reads a run', measured: (gets / runs.length).toFixed(2) },
    {
      what: 'spans delivered a run; dropped',
      measured: `${(spans / runs.length).toFixed(2)} of ${SPANS_PER_RUN}; ${grown('storage_probe_spans_dropped_total')}`,
      aim: aimed(grown('storage_probe_spans_dropped_total'), 0),
    },
  ];
}

function punctualityFigures(
  { due, missed, doubled, lagsMs }: Punctuality,
  aimMs: number | undefined,
): Figure[] {
  const [median = NaN, p99 = NaN, worst = NaN] = [0.5, 0.99, 1].map((q) => quantile(lagsMs, q));
  return [
    {
      what: 'due times; without a run, with two',
      measured: `${due}; ${missed}, ${doubled}`,
      aim: aimed(missed + doubled, 0),
    },
    {
      what: 'start lag: median, p99, worst',
      measured: [median, p99, worst].map((ms) => `${Math.round(ms)} ms`).join(', '),
      ...(aimMs !== undefined && { aim: { text: `p99 < ${aimMs} ms`, isMet: p99 < aimMs } }),
    },
  ];
}

async function measureDeletion(stack: Stack, operator: OperatorProcess): Promise<Figure[]> {
  const startMs = performance.now();
  await stack.deleteProbes();
  const deletedMs = performance.now() - startMs;
  let left = Infinity;
  await until(
    'all series to be gone',
    60 * SECOND_MS,
    async () => {
      const metrics = await operator.metrics();
      left = metrics.count('probe="') + metrics.sum('storage_probe_targets');
      return left === 0;
    },
    SECOND_MS / 4,
  );
  const goneMs = performance.now() - startMs;
  await sleep(IDLE_MS);
  const { rssBytes } = await operator.usage();
  const { complaints } = operator;
  for (const complaint of complaints.slice(0, COMPLAINTS_SHOWN)) console.log(complaint);
  return [
    {
      what: 'all deleted; after that, no series left',
      measured: `${seconds(deletedMs)}; ${seconds(goneMs - deletedMs)}`,
    },
    { what: `RSS ${IDLE_MS / SECOND_MS} s later`, measured: megabytes(rssBytes) },
    {
      what: 'warnings and errors in the log',
      measured: `${complaints.length}`,
      aim: aimed(complaints.length, 0),
    },
  ];
}

function aimed(value: number, aim: number): NonNullable<Figure['aim']> {
  return { text: `${aim}`, isMet: value === aim };
}

function formatFigures(figures: readonly Figure[]): string {
  return formatTable([
    ['', 'measured', 'aim'],
    ...figures.map(({ what, measured, aim }) => [
      what,
      measured,
      aim === undefined ? '' : `${aim.text}, ${aim.isMet ? 'met' : 'missed'}`,
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
