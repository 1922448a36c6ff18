import type { RunResult } from '../../api/run.ts';
import { formatMs, type Paint } from './text.ts';

const NAME_WIDTH = 32;
const FIGURE_WIDTH = 11;

/** Statistics over the runs of one target. */
interface TargetRuns {
  count: number;
  passed: number;
  /** Durations of passed steps, by step name. The last entry is the whole run. */
  readonly durationsMs: Map<string, number[]>;
}

/** Collects step durations over many runs. Keeps only the durations, not the results. */
export class Patterns {
  readonly #targets = new Map<string, TargetRuns>();

  add({ target, verdict, durationMs, steps }: RunResult): void {
    const runs = this.#targets.get(target) ?? { count: 0, passed: 0, durationsMs: new Map() };
    this.#targets.set(target, runs);
    runs.count += 1;
    // A step that did not pass is added without a duration, to keep the steps in order.
    for (const step of steps) addTo(runs, step.name, step.outcome === 'passed' ? step.durationMs : undefined);
    addTo(runs, 'storage probe', verdict === 'Passed' ? durationMs : undefined);
    if (verdict === 'Passed') runs.passed += 1;
  }

  /** One table per target, with the fastest, median and slowest duration of each step. */
  lines(paint: Paint): string[] {
    return Array.from(this.#targets, ([target, { count, passed, durationsMs }]) => [
      '',
      paint('strong', `Patterns of ${target}: ${passed} of ${count} runs passed`),
      paint('quiet', row('', ['fastest', 'median', 'slowest'])),
      ...Array.from(durationsMs)
        .filter(([, durations]) => durations.length > 0)
        .map(([name, durations]) => row(name, figuresOf(durations).map(formatMs))),
    ]).flat();
  }
}

function addTo({ durationsMs }: TargetRuns, name: string, ms: number | undefined): void {
  const durations = durationsMs.get(name) ?? [];
  durationsMs.set(name, durations);
  if (ms !== undefined) durations.push(ms);
}

/** Returns fastest, median and slowest. `durationsMs` must not be empty. */
function figuresOf(durationsMs: readonly number[]): number[] {
  const sorted = durationsMs.toSorted((a, b) => a - b);
  return [sorted[0] ?? Number.NaN, median(sorted), sorted.at(-1) ?? Number.NaN];
}

/** Median of `sorted`, which must be ascending and not empty. */
export function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function row(name: string, figures: readonly string[]): string {
  return `${name.padEnd(NAME_WIDTH)}${figures.map((figure) => figure.padStart(FIGURE_WIDTH)).join('')}`;
}
