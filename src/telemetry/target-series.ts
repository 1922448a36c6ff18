import type { Reason, Verdict } from '../api/reasons.ts';
import { FUNCTION_NAMES, type FunctionName, type RunResult } from '../api/run.ts';
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

/** What the status says of a target; times are ms since the epoch. */
export interface TargetState {
  /** Absent while unknown. */
  readonly healthy?: boolean | undefined;
  readonly consecutiveFailures: number;
  /** Of a cron schedule, the distance of the next two runs. Absent when no run is planned. */
  readonly scheduleIntervalMs?: number | undefined;
  /**
   * When the next run is due, in the past while it waits for its start; read at each scrape. Undefined when none is
   * planned or can start.
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

/** All numbers of one target. */
export class TargetSeries {
  readonly labels: string;
  readonly runDuration = new DurationHistogram();
  readonly stepDurations = new Map<FunctionName, DurationHistogram>();
  /** By verdict and reason. */
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
    this.lastRunSeconds = later(this.lastRunSeconds, seconds(state.lastRunMs));
    this.lastSuccessSeconds = later(this.lastSuccessSeconds, seconds(state.lastSuccessMs));
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
    this.lastRunSeconds = later(this.lastRunSeconds, startSeconds);
    if (result.verdict === 'Passed') this.lastSuccessSeconds = later(this.lastSuccessSeconds, startSeconds);
    const notAfter = certificateNotAfter(result);
    if (notAfter !== undefined) this.certificateNotAfterSeconds = Date.parse(notAfter) / 1_000;
    // A run that passed has shaken hands, unless the endpoint is not https any more.
    else if (result.verdict === 'Passed') this.certificateNotAfterSeconds = undefined;
    // A run that could not tell, such as one that was broken off, did not measure the store.
    if (result.verdict === 'Unknown') return;

    this.runDuration.observe(exemplar);
    for (const { functionName, startOffsetMs, durationMs } of result.steps) {
      if (startOffsetMs === undefined || durationMs === undefined) continue;
      this.#stepDuration(functionName).observe(exemplarOf(durationMs, startOffsetMs + durationMs));
    }
  }

  #count({ verdict, reason }: RunResult, exemplar: Exemplar): void {
    const key = reason ?? verdict;
    const known = this.runs.get(key);
    if (known === undefined) {
      const labels = `${this.labels},${formatLabels({ verdict, reason: reason ?? '' })}`;
      this.runs.set(key, { labels, value: 1, exemplar: { ...exemplar, value: 1 } });
    } else {
      known.value += 1;
      known.exemplar = { ...exemplar, value: 1 };
    }
  }

  #stepDuration(functionName: FunctionName): DurationHistogram {
    const known = this.stepDurations.get(functionName);
    if (known !== undefined) return known;
    const duration = new DurationHistogram();
    this.stepDurations.set(functionName, duration);
    return duration;
  }
}

export interface TargetFamily extends FamilyInfo {
  /** All lines of one target; none while there is nothing to tell. */
  readonly write: (series: TargetSeries, format: ExpositionFormat) => string;
}

const LABELS = ['namespace', 'probe', 'target'] as const;
const RUNS = 'storage_probe_runs_total';
const RUN_DURATION = 'storage_probe_run_duration_seconds';
const STEP_DURATION = 'storage_probe_step_duration_seconds';

/** All metrics of a target, as they are told. */
export const TARGET_FAMILIES: readonly TargetFamily[] = [
  {
    name: RUNS,
    type: 'counter',
    help: 'Runs by verdict and by reason, which is empty for those that passed.',
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
    help: 'How long a run took that passed or failed.',
    labels: LABELS,
    write: ({ labels, runDuration }, format) => runDuration.write(RUN_DURATION, labels, format),
  },
  {
    name: STEP_DURATION,
    type: 'histogram',
    help: 'How long a step took, in a run that passed or failed.',
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
  gauge('healthy', '1 if the target is healthy, 0 if it is not; absent while unknown.', ({ state }) =>
    state.healthy === undefined ? undefined : Number(state.healthy),
  ),
  gauge(
    'consecutive_failures',
    'Failed runs since the last one that passed.',
    ({ state }) => state.consecutiveFailures,
  ),
  gauge(
    'last_run_timestamp_seconds',
    'When the last run started, whatever its verdict.',
    ({ lastRunSeconds }) => lastRunSeconds,
  ),
  gauge(
    'last_success_timestamp_seconds',
    'When the last run started that passed.',
    ({ lastSuccessSeconds }) => lastSuccessSeconds,
  ),
  gauge(
    'schedule_interval_seconds',
    'From one run to the next, of cron the distance of the next two; absent when no run is planned.',
    ({ state }) => seconds(state.scheduleIntervalMs),
  ),
  gauge(
    'next_run_timestamp_seconds',
    'When the next run is due; in the past while it waits for its start; absent when none is planned or can start.',
    ({ state }) => seconds(state.nextRunMs?.()),
  ),
  gauge(
    'certificate_not_after_timestamp_seconds',
    'When the certificate ends that the target showed last.',
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

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1_000;
}

function later(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.max(one, other);
}
