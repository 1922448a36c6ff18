import type { RunResult } from '../../api/run.ts';
import { formatMs, type Paint } from './text.ts';

const NAME_WIDTH = 32;
const FIGURE_WIDTH = 11;

/** How the runs of one target went. */
interface Runs {
  count: number;
  passed: number;
  /** Of each time that a step passed, in ms, by the step's name; the run as a whole comes last. */
  readonly durationsMs: Map<string, number[]>;
}

/** Gathers how long each step takes over many runs. It keeps the durations, and not the runs. */
export class Patterns {
  readonly #targets = new Map<string, Runs>();

  add({ target, verdict, durationMs, steps }: RunResult): void {
    const runs = this.#targets.get(target) ?? { count: 0, passed: 0, durationsMs: new Map() };
    this.#targets.set(target, runs);
    runs.count += 1;
    // One that did not pass keeps its place in the order.
    for (const step of steps) addTo(runs, step.name, step.outcome === 'passed' ? step.durationMs : undefined);
    addTo(runs, 'storage probe', verdict === 'Passed' ? durationMs : undefined);
    if (verdict === 'Passed') runs.passed += 1;
  }

  /** A table for each target: per step the fastest, median and slowest of the times that it passed. */
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

function addTo({ durationsMs }: Runs, name: string, ms: number | undefined): void {
  const durations = durationsMs.get(name) ?? [];
  durationsMs.set(name, durations);
  if (ms !== undefined) durations.push(ms);
}

/** Fastest, median and slowest. `durationsMs` is not empty. */
function figuresOf(durationsMs: readonly number[]): number[] {
  const sorted = durationsMs.toSorted((a, b) => a - b);
  return [sorted[0] ?? Number.NaN, median(sorted), sorted.at(-1) ?? Number.NaN];
}

/** The middle one; of an even number, the mean of the two in the middle. `sorted` is ascending and not empty. */
export function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function row(name: string, figures: readonly string[]): string {
  return `${name.padEnd(NAME_WIDTH)}${figures.map((figure) => figure.padStart(FIGURE_WIDTH)).join('')}`;
}
