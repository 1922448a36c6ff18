import { CONTENDERS, type ContenderName } from './contenders.ts';
import type { Measurement } from './contenders/serve.ts';
import { spreadOf } from './statistics.ts';
import { formatTable } from './table.ts';

/** One measurement per contender. */
export type Round = Readonly<Partial<Record<ContenderName, Measurement>>>;

type Measure = 'CPU' | 'wall';

/** Maximum ratio of our cost per run to that of another contender. */
const GOALS: Partial<Record<ContenderName, Partial<Record<Measure, number>>>> = {
  talk: { CPU: 0.65 },
  'minio-js': { CPU: 1, wall: 1 },
};

/** Table of the cost per run of each contender. */
export function formatCosts(names: readonly ContenderName[], rounds: readonly Round[]): string {
  const rows = [
    ['contender', '', 'requests', 'CPU ms/run', 'min–max', 'wall ms/run', 'min–max', 'flush ms', 'peak RSS'],
  ];
  for (const name of names) {
    const measurements = rounds.map((round) => measurementOf(round, name));
    const cpu = spreadOf(measurements.map((measurement) => msPerRun(measurement, 'CPU')));
    const wall = spreadOf(measurements.map((measurement) => msPerRun(measurement, 'wall')));
    const flush = spreadOf(measurements.map((measurement) => measurement.flushMs));
    const peakRssBytes = Math.max(...measurements.map((measurement) => measurement.peakRssBytes));
    rows.push([
      name,
      CONTENDERS[name].title,
      `${CONTENDERS[name].requestsPerRun}`,
      cpu.median.toFixed(2),
      `${cpu.min.toFixed(2)}–${cpu.max.toFixed(2)}`,
      wall.median.toFixed(2),
      `${wall.min.toFixed(2)}–${wall.max.toFixed(2)}`,
      flush.median.toFixed(1),
      `${Math.round(peakRssBytes / 2 ** 20)} MiB`,
    ]);
  }
  return formatTable(rows);
}

/**
 * Table of our cost relative to each other contender. Ratios are computed within a round, so a temporary slowdown of
 * the machine affects both sides.
 */
export function formatRatios(names: readonly ContenderName[], rounds: readonly Round[]): string {
  const rows = [['ours vs.', '', 'per run', 'quartiles', 'per request', 'goal per run']];
  for (const name of names) {
    if (name === 'ours') continue;
    const perRequest = CONTENDERS[name].requestsPerRun / CONTENDERS.ours.requestsPerRun;
    for (const measure of ['CPU', 'wall'] as const) {
      const ratio = spreadOf(
        rounds.map(
          (round) =>
            msPerRun(measurementOf(round, 'ours'), measure) / msPerRun(measurementOf(round, name), measure),
        ),
      );
      rows.push([
        name,
        measure,
        ratio.median.toFixed(2),
        `${ratio.lowerQuartile.toFixed(2)}–${ratio.upperQuartile.toFixed(2)}`,
        (ratio.median * perRequest).toFixed(2),
        formatGoal(ratio.median, GOALS[name]?.[measure]),
      ]);
    }
  }
  return formatTable(rows);
}

function formatGoal(ratio: number, goal: number | undefined): string {
  if (goal === undefined) return '';
  return `≤ ${goal.toFixed(2)}, ${ratio <= goal ? 'met' : 'missed'}`;
}

function msPerRun(measurement: Measurement, measure: Measure): number {
  const ms = measure === 'CPU' ? measurement.cpuUserMs + measurement.cpuSystemMs : measurement.wallMs;
  return ms / measurement.runs;
}

function measurementOf(round: Round, name: ContenderName): Measurement {
  const measurement = round[name];
  if (measurement === undefined) throw new Error(`${name} is missing from a round`);
  return measurement;
}
