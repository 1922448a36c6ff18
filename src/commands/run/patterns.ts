import type { RunResult } from '../../api/run.ts';
import { formatMs, type Paint } from './text.ts';

const NAME_WIDTH = 32;
const FIGURE_WIDTH = 11;

export interface Pattern {
  /** Span name of the step, or of the run as a whole. */
  readonly name: string;
  /** Of the runs in which it passed, in ms, ascending; never empty. */
  readonly durationsMs: readonly number[];
}

/** How long each step took over several runs of one target, the whole run last. */
export function patternsOf(results: readonly RunResult[]): Pattern[] {
  const durations = new Map<string, number[]>();
  const add = (name: string, ms: number): void => {
    durations.set(name, [...(durations.get(name) ?? []), ms]);
  };
  for (const { steps } of results) {
    for (const { name, outcome, durationMs } of steps) {
      if (outcome === 'passed' && durationMs !== undefined) add(name, durationMs);
    }
  }
  for (const { verdict, durationMs } of results) if (verdict === 'Passed') add('storage probe', durationMs);
  return Array.from(durations, ([name, ms]) => ({ name, durationsMs: ms.toSorted((a, b) => a - b) }));
}

/** The middle one; of an even number, the mean of the two in the middle. `sorted` is ascending and not empty. */
export function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** A table for each target: per step the fastest, median and slowest. */
export function patternLines(results: readonly RunResult[], paint: Paint): string[] {
  const targets = Map.groupBy(results, ({ target }) => target);
  return [...targets].flatMap(([target, runs]) => {
    const passed = runs.filter(({ verdict }) => verdict === 'Passed').length;
    return [
      '',
      paint('strong', `Patterns of ${target}: ${passed} of ${runs.length} runs passed`),
      paint('quiet', row('', ['fastest', 'median', 'slowest'])),
      ...patternsOf(runs).map(({ name, durationsMs }) =>
        row(
          name,
          [durationsMs[0], median(durationsMs), durationsMs.at(-1)].map((ms) => formatMs(ms ?? Number.NaN)),
        ),
      ),
    ];
  });
}

function row(name: string, figures: readonly string[]): string {
  return `${name.padEnd(NAME_WIDTH)}${figures.map((figure) => figure.padStart(FIGURE_WIDTH)).join('')}`;
}
