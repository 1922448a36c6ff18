import { type Exemplar, type ExpositionFormat, formatExemplar } from './exposition.ts';

/** Two bounds per decade. A healthy step takes a few ms; a hung step lasts until the run times out. */
export const DURATION_BOUNDS_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30] as const;

/** A histogram of durations in seconds. Each bucket keeps its latest measurement as the exemplar. */
export class DurationHistogram {
  /** Measurements per bucket. The last bucket is `+Inf`. */
  readonly #counts: number[] = Array.from({ length: DURATION_BOUNDS_SECONDS.length + 1 }, () => 0);
  readonly #exemplars: (Exemplar | undefined)[] = [];
  #sumSeconds = 0;

  observe(exemplar: Exemplar): void {
    const found = DURATION_BOUNDS_SECONDS.findIndex((bound) => exemplar.value <= bound);
    const bucket = found === -1 ? DURATION_BOUNDS_SECONDS.length : found;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#exemplars[bucket] = exemplar;
    this.#sumSeconds += exemplar.value;
  }

  write(name: string, labels: string, format: ExpositionFormat): string {
    const start = `${name}_bucket{${labels},le="`;
    let lines = '';
    let count = 0;
    for (const [bucket, bucketCount] of this.#counts.entries()) {
      count += bucketCount;
      const exemplar = format === 'openmetrics' ? formatExemplar(this.#exemplars[bucket]) : '';
      lines += `${start}${DURATION_BOUNDS_SECONDS[bucket] ?? '+Inf'}"} ${count}${exemplar}\n`;
    }
    return `${lines}${name}_sum{${labels}} ${this.#sumSeconds}\n${name}_count{${labels}} ${count}\n`;
  }
}
