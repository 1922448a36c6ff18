import { setImmediate } from 'node:timers/promises';

import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';

import type { RunResult } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import {
  CONTENT_TYPES,
  type ExpositionFormat,
  type FamilyInfo,
  header,
  negotiateFormat,
  toOpenMetrics,
} from './exposition.ts';
import { OperatorMetrics } from './operator-metrics.ts';
import { TARGET_FAMILIES, type TargetRef, TargetSeries, type TargetState } from './target-series.ts';

export interface ProberMetricsOptions {
  readonly clock: Clock;
  readonly version: string;
  /** For example `v24.21.0`. */
  readonly nodeVersion: string;
  /** Number of delivered and dropped spans. Called at each scrape. */
  readonly spanCounts?: () => { readonly delivered: number; readonly dropped: number };
  /** If true, process metrics (CPU, memory, event loop) are included. Default true. */
  readonly processMetrics?: boolean;
}

export interface Exposition {
  readonly contentType: string;
  readonly chunks: AsyncIterable<string>;
}

/** Minimum length of a chunk before the writer yields, in characters. */
const MIN_CHUNK_LENGTH = 65_536;

/**
 * The prober's metrics. prom-client keeps the metrics of the process and the operator. Target metrics have their own
 * writer, because a scrape must not slow down runs in progress. For 1,000 targets, prom-client blocks the event loop
 * for 200 ms, and every run in progress takes that much longer. This writer yields after each chunk.
 */
export class ProberMetrics {
  readonly operator: OperatorMetrics;
  readonly #registry = new Registry();
  readonly #targets = new Map<string, TargetSeries>();

  constructor({ clock, version, nodeVersion, spanCounts, processMetrics = true }: ProberMetricsOptions) {
    this.operator = new OperatorMetrics(this.#registry, clock);
    new Gauge({
      name: 'storage_probe_build_info',
      help: 'Always 1. The labels show the versions of storage-probe and Node.js.',
      labelNames: ['version', 'node_version'],
      registers: [this.#registry],
    }).set({ version, node_version: nodeVersion }, 1);
    if (spanCounts !== undefined) {
      this.#externalCounter(
        'storage_probe_spans_exported_total',
        'Spans accepted by the Collector.',
        () => spanCounts().delivered,
      );
      this.#externalCounter(
        'storage_probe_spans_dropped_total',
        'Spans dropped because the Collector was unavailable for too long or rejected them.',
        () => spanCounts().dropped,
      );
    }
    if (processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds the target if it is new, and sets its state. */
  setTarget(ref: TargetRef, state: TargetState): void {
    const key = keyOf(ref);
    const series = this.#targets.get(key) ?? new TargetSeries(ref);
    series.set(state);
    this.#targets.set(key, series);
  }

  /** Ignores runs of unknown targets, so a run that outlives its target does not bring its series back. */
  recordRun(result: RunResult): void {
    const { namespace, name: probe } = result.probe;
    this.#targets.get(keyOf({ namespace, probe, target: result.target }))?.record(result);
  }

  /** Removes all series of the target. */
  forgetTarget(ref: TargetRef): void {
    this.#targets.delete(keyOf(ref));
  }

  /** @param accept the scraper's `Accept` header. Scrapers that accept OpenMetrics also get exemplars. */
  expose(accept?: string): Exposition {
    const format = negotiateFormat(accept);
    return { contentType: CONTENT_TYPES[format], chunks: this.#chunks(format) };
  }

  /** Name, type, help and labels of every metric, for the reference page. */
  describe(): FamilyInfo[] {
    const registered = this.#registry.getMetricsAsArray() as unknown as (Omit<FamilyInfo, 'labels'> & {
      labelNames: string[];
    })[];
    return [
      ...TARGET_FAMILIES.map(({ name, type, help, labels }) => ({ name, type, help, labels })),
      ...registered.map(({ name, type, help, labelNames }) => ({ name, type, help, labels: labelNames })),
    ];
  }

  /** A counter whose value is kept elsewhere and read at each scrape. */
  #externalCounter(name: string, help: string, read: () => number): Counter {
    return new Counter({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  async *#chunks(format: ExpositionFormat): AsyncGenerator<string> {
    const registered = await this.#registry.metrics();
    yield format === 'openmetrics' ? toOpenMetrics(registered) : registered;
    const targets = [...this.#targets.values()];
    for (const family of TARGET_FAMILIES) {
      let chunk = header(family, format);
      for (const series of targets) {
        chunk += family.write(series, format);
        if (chunk.length < MIN_CHUNK_LENGTH) continue;
        yield chunk;
        await setImmediate();
        chunk = '';
      }
      yield chunk;
    }
    if (format === 'openmetrics') yield '# EOF\n';
  }
}

function keyOf({ namespace, probe, target }: TargetRef): string {
  return `${namespace}/${probe}/${target}`;
}
