import { CONTENDERS, type ContenderName } from './contenders.ts';
import type { Stretch } from './contenders/serve.ts';
import { spreadOf } from './statistics.ts';
import { formatTable } from './table.ts';

/** One stretch of each contender. */
export type Round = Readonly<Partial<Record<ContenderName, Stretch>>>;

type Measure = 'CPU' | 'wall';

/** The highest that ours may be, per run, as a ratio to another contender. */
const AIMS: Partial<Record<ContenderName, Partial<Record<Measure, number>>>> = {
  talk: { CPU: 0.65 },
  'minio-js': { CPU: 1, wall: 1 },
};

/** What a run costs each contender. */
export function formatCosts(names: readonly ContenderName[], rounds: readonly Round[]): string {
  const rows = [
    [
      'contender',
      '',
      'requests',
      'CPU ms a run',
      'min–max',
      'wall ms a run',
      'min–max',
      'flush ms',
      'peak RSS',
    ],
  ];
  for (const name of names) {
    const stretches = rounds.map((round) => stretchOf(round, name));
    const cpu = spreadOf(stretches.map((stretch) => msPerRun(stretch, 'CPU')));
    const wall = spreadOf(stretches.map((stretch) => msPerRun(stretch, 'wall')));
    const flush = spreadOf(stretches.map((stretch) => stretch.flushMs));
    const peakRssBytes = Math.max(...stretches.map((stretch) => stretch.peakRssBytes));
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
 * Ours to each other contender. A ratio is taken within a round, so that what slowed the machine for a while counts on
 * both of its sides.
 */
export function formatRatios(names: readonly ContenderName[], rounds: readonly Round[]): string {
  const rows = [['ours to', '', 'a run', 'quartiles', 'a request', 'aim for a run']];
  for (const name of names) {
    if (name === 'ours') continue;
    const perRequest = CONTENDERS[name].requestsPerRun / CONTENDERS.ours.requestsPerRun;
    for (const measure of ['CPU', 'wall'] as const) {
      const ratio = spreadOf(
        rounds.map(
          (round) => msPerRun(stretchOf(round, 'ours'), measure) / msPerRun(stretchOf(round, name), measure),
        ),
      );
      rows.push([
        name,
        measure,
        ratio.median.toFixed(2),
        `${ratio.lowerQuartile.toFixed(2)}–${ratio.upperQuartile.toFixed(2)}`,
        (ratio.median * perRequest).toFixed(2),
        formatAim(ratio.median, AIMS[name]?.[measure]),
      ]);
    }
  }
  return formatTable(rows);
}

function formatAim(ratio: number, aim: number | undefined): string {
  if (aim === undefined) return '';
  return `≤ ${aim.toFixed(2)}, ${ratio <= aim ? 'met' : 'missed'}`;
}

function msPerRun(stretch: Stretch, measure: Measure): number {
  const ms = measure === 'CPU' ? stretch.cpuUserMs + stretch.cpuSystemMs : stretch.wallMs;
  return ms / stretch.runs;
}

function stretchOf(round: Round, name: ContenderName): Stretch {
  const stretch = round[name];
  if (stretch === undefined) throw new Error(`a round without ${name}`);
  return stretch;
}
