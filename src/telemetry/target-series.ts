import type { Reason, Verdict } from '../api/reasons.ts';
import { FUNCTION_NAMES, type FunctionName, type Phases, type RunResult } from '../api/run.ts';
import { DurationHistogram } from './duration-histogram.ts';
import {
  type Exemplar,
  type ExpositionFormat,
  type FamilyInfo,
  formatExemplar,
  formatLabels,
} from './exposition.ts';

export interface TargetRef {
  readonly namespace: string;
  readonly probe: string;
  readonly target: string;
}

/** The state of a target, from the probe's status and schedule. Times are in ms since the epoch. */
export interface TargetState {
  /** Absent while unknown. */
  readonly healthy?: boolean | undefined;
  readonly consecutiveFailures: number;
  /** Time between runs; for a cron schedule, between the next two. Absent when no run is planned. */
  readonly scheduleIntervalMs?: number | undefined;
  /**
   * Returns the due time of the next run. Called at each scrape. The time is in the past while the run waits to start.
   * Undefined when no run is planned or runs cannot start.
   */
  readonly nextRunMs?: () => number | undefined;
  /** Start of the last run. */
  readonly lastRunMs?: number | undefined;
  /** Start of the last run that passed. */
  readonly lastSuccessMs?: number | undefined;
}

interface RunCount {
  readonly labels: string;
  value: number;
  exemplar: Exemplar;
}

interface PhaseTotal {
  seconds: number;
  count: number;
}

/** The metric values of one target. */
export class TargetSeries {
  readonly labels: string;
  readonly runDuration = new DurationHistogram();
  readonly stepDurations = new Map<FunctionName, DurationHistogram>();
  readonly phases = new Map<string, PhaseTotal>();
  /** Keyed by reason, or by verdict for a run without a reason. */
  readonly runs = new Map<Verdict | Reason, RunCount>();
  state: TargetState = { consecutiveFailures: 0 };
  lastRunSeconds: number | undefined;
  lastSuccessSeconds: number | undefined;
  certificateNotAfterSeconds: number | undefined;

  constructor({ namespace, probe, target }: TargetRef) {
    this.labels = formatLabels({ namespace, probe, target });
  }

  set(state: TargetState): void {
    this.state = state;
    this.lastRunSeconds = latest(this.lastRunSeconds, seconds(state.lastRunMs));
    this.lastSuccessSeconds = latest(this.lastSuccessSeconds, seconds(state.lastSuccessMs));
  }

  record(result: RunResult): void {
    const startSeconds = Date.parse(result.startTime) / 1_000;
    const exemplarOf = (durationMs: number, endOffsetMs: number): Exemplar => ({
      traceId: result.traceId,
      value: durationMs / 1_000,
      timestampSeconds: startSeconds + endOffsetMs / 1_000,
    });
    const exemplar = exemplarOf(result.durationMs, result.durationMs);
    this.#count(result, exemplar);
    this.lastRunSeconds = latest(this.lastRunSeconds, startSeconds);
    if (result.verdict === 'Passed') this.lastSuccessSeconds = latest(this.lastSuccessSeconds, startSeconds);
    const notAfter = certificateNotAfter(result);
    if (notAfter !== undefined) this.certificateNotAfterSeconds = Date.parse(notAfter) / 1_000;
    // A run that passed without a TLS handshake means that the endpoint no longer uses https.
    else if (result.verdict === 'Passed') this.certificateNotAfterSeconds = undefined;
    // An Unknown run, such as a cancelled one, did not measure the store.
    if (result.verdict === 'Unknown') return;

    this.runDuration.observe(exemplar);
    for (const { functionName, startOffsetMs, durationMs } of result.steps) {
      if (startOffsetMs === undefined || durationMs === undefined) continue;
      this.#stepDuration(functionName).observe(exemplarOf(durationMs, startOffsetMs + durationMs));
    }
    for (const { calls } of result.steps) for (const { phases } of calls) this.#addPhases(phases);
  }

  #addPhases(phases: Phases): void {
    for (const [key, durationMs] of Object.entries(phases)) {
      const name = phaseName(key);
      const total = this.phases.get(name) ?? { seconds: 0, count: 0 };
      total.seconds += durationMs / 1_000;
      total.count += 1;
      this.phases.set(name, total);
    }
  }

  #count({ verdict, reason }: RunResult, exemplar: Exemplar): void {
    const key = reason ?? verdict;
    const existing = this.runs.get(key);
    if (existing === undefined) {
      const labels = `${this.labels},${formatLabels({ verdict, reason: reason ?? '' })}`;
      this.runs.set(key, { labels, value: 1, exemplar: { ...exemplar, value: 1 } });
    } else {
      existing.value += 1;
      existing.exemplar = { ...exemplar, value: 1 };
    }
  }

  #stepDuration(functionName: FunctionName): DurationHistogram {
    const existing = this.stepDurations.get(functionName);
    if (existing !== undefined) return existing;
    const duration = new DurationHistogram();
    this.stepDurations.set(functionName, duration);
    return duration;
  }
}

export interface TargetFamily extends FamilyInfo {
  /** Returns the samples of one target, or an empty string if it has none yet. */
  readonly write: (series: TargetSeries, format: ExpositionFormat) => string;
}

const LABELS = ['namespace', 'probe', 'target'] as const;
const RUNS = 'storage_probe_runs_total';
const RUN_DURATION = 'storage_probe_run_duration_seconds';
const STEP_DURATION = 'storage_probe_step_duration_seconds';
const PHASE_DURATION = 'storage_probe_phase_duration_seconds';

/** The metric families of a target, in the order in which they are written. */
export const TARGET_FAMILIES: readonly TargetFamily[] = [
  {
    name: RUNS,
    type: 'counter',
    help: 'Runs by verdict and reason. The reason is empty for runs that passed.',
    labels: [...LABELS, 'verdict', 'reason'],
    write: ({ runs }, format) => {
      let lines = '';
      for (const { labels, value, exemplar } of runs.values()) {
        lines += `${RUNS}{${labels}} ${value}${format === 'openmetrics' ? formatExemplar(exemplar) : ''}\n`;
      }
      return lines;
    },
  },
  {
    name: RUN_DURATION,
    type: 'histogram',
    help: 'Duration of runs that passed or failed.',
    labels: LABELS,
    write: ({ labels, runDuration }, format) => runDuration.write(RUN_DURATION, labels, format),
  },
  {
    name: STEP_DURATION,
    type: 'histogram',
    help: 'Duration of each step in runs that passed or failed.',
    labels: [...LABELS, 'function_name'],
    write: ({ labels, stepDurations }, format) => {
      let lines = '';
      for (const functionName of FUNCTION_NAMES) {
        const duration = stepDurations.get(functionName);
        lines += duration?.write(STEP_DURATION, `${labels},function_name="${functionName}"`, format) ?? '';
      }
      return lines;
    },
  },
  {
    name: PHASE_DURATION,
    type: 'summary',
    help: 'Time spent in each phase of the S3 calls (such as dns, connect, tls, first_byte), in runs that passed or failed.',
    labels: [...LABELS, 'phase'],
    write: ({ labels, phases }) => {
      let lines = '';
      for (const [phase, { seconds: sum, count }] of phases) {
        const all = `${labels},phase="${phase}"`;
        lines += `${PHASE_DURATION}_sum{${all}} ${sum}\n${PHASE_DURATION}_count{${all}} ${count}\n`;
      }
      return lines;
    },
  },
  gauge('healthy', '1 if the target is healthy, 0 if it is not. Absent while unknown.', ({ state }) =>
    state.healthy === undefined ? undefined : Number(state.healthy),
  ),
  gauge(
    'consecutive_failures',
    'Failed runs since the last run that passed.',
    ({ state }) => state.consecutiveFailures,
  ),
  gauge(
    'last_run_timestamp_seconds',
    'Start time of the last run, regardless of its verdict.',
    ({ lastRunSeconds }) => lastRunSeconds,
  ),
  gauge(
    'last_success_timestamp_seconds',
    'Start time of the last run that passed.',
    ({ lastSuccessSeconds }) => lastSuccessSeconds,
  ),
  gauge(
    'schedule_interval_seconds',
    'Time between runs. For a cron schedule, the time between the next two. Absent when no run is planned.',
    ({ state }) => seconds(state.scheduleIntervalMs),
  ),
  gauge(
    'next_run_timestamp_seconds',
    'Due time of the next run. In the past while the run waits to start. Absent when no run is planned or runs cannot start.',
    ({ state }) => seconds(state.nextRunMs?.()),
  ),
  gauge(
    'certificate_not_after_timestamp_seconds',
    'Expiry time of the certificate that the target last presented.',
    ({ certificateNotAfterSeconds }) => certificateNotAfterSeconds,
  ),
];

function gauge(
  shortName: string,
  help: string,
  value: (series: TargetSeries) => number | undefined,
): TargetFamily {
  const name = `storage_probe_${shortName}`;
  return {
    name,
    type: 'gauge',
    help,
    labels: LABELS,
    write: (series) => {
      const now = value(series);
      return now === undefined ? '' : `${name}{${series.labels}} ${now}\n`;
    },
  };
}

function certificateNotAfter({ steps }: RunResult): string | undefined {
  return steps.flatMap(({ calls }) => calls).findLast((call) => call.certificateNotAfter !== undefined)
    ?.certificateNotAfter;
}

/** `firstByteMs` → `first_byte` */
function phaseName(key: string): string {
  return key.replace(/Ms$/, '').replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1_000;
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.max(a, b);
}
