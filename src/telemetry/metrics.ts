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
import { MachineryMetrics } from './machinery-metrics.ts';
import { TARGET_FAMILIES, type TargetRef, TargetSeries, type TargetState } from './target-series.ts';

export interface ProberMetricsOptions {
  readonly clock: Clock;
  readonly version: string;
  /** For example `v24.21.0`. */
  readonly nodeVersion: string;
  /** What became of the spans; read at each scrape. */
  readonly spanCounts?: () => { readonly delivered: number; readonly dropped: number };
  /** Whether to tell of the process as well: CPU, memory, event loop. Default true. */
  readonly processMetrics?: boolean;
}

export interface Exposition {
  readonly contentType: string;
  readonly chunks: AsyncIterable<string>;
}

/** Characters that are written between two pauses. */
const CHUNK_LENGTH = 65_536;

/**
 * The prober's metrics. prom-client holds those of the process and of the machinery. Those of the targets are our own,
 * since a scrape must not disturb the runs that it tells of: of 1,000 targets, prom-client writes for 200 ms without a
 * pause, and a run under way takes that much longer. Here the writing pauses after each chunk.
 */
export class ProberMetrics {
  readonly machinery: MachineryMetrics;
  readonly #registry = new Registry();
  readonly #targets = new Map<string, TargetSeries>();

  constructor({ clock, version, nodeVersion, spanCounts, processMetrics = true }: ProberMetricsOptions) {
    this.machinery = new MachineryMetrics(this.#registry, clock);
    new Gauge({
      name: 'storage_probe_build_info',
      help: 'Always 1; the labels say which version runs.',
      labelNames: ['version', 'node_version'],
      registers: [this.#registry],
    }).set({ version, node_version: nodeVersion }, 1);
    if (spanCounts !== undefined) {
      this.#counted(
        'storage_probe_spans_exported_total',
        'Spans that the Collector took.',
        () => spanCounts().delivered,
      );
      this.#counted(
        'storage_probe_spans_dropped_total',
        'Spans that were given up: the Collector was away for too long, or refused them.',
        () => spanCounts().dropped,
      );
    }
    if (processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds a target, or sets what is known of it. */
  setTarget(ref: TargetRef, state: TargetState): void {
    const key = keyOf(ref);
    const known = this.#targets.get(key) ?? new TargetSeries(ref);
    known.set(state);
    this.#targets.set(key, known);
  }

  /** A run counts only for a target that is set: one that ends after its target was forgotten leaves nothing. */
  recordRun(result: RunResult): void {
    const { namespace, name: probe } = result.probe;
    this.#targets.get(keyOf({ namespace, probe, target: result.target }))?.record(result);
  }

  /** Removes all series of the target. */
  forgetTarget(ref: TargetRef): void {
    this.#targets.delete(keyOf(ref));
  }

  /** @param accept the scraper's `Accept` header: OpenMetrics, with exemplars, for one that takes it. */
  expose(accept?: string): Exposition {
    const format = negotiateFormat(accept);
    return { contentType: CONTENT_TYPES[format], chunks: this.#chunks(format) };
  }

  /** All metrics there are, without their values. */
  describe(): FamilyInfo[] {
    const held = this.#registry.getMetricsAsArray() as unknown as (Omit<FamilyInfo, 'labels'> & {
      labelNames: string[];
    })[];
    return [
      ...TARGET_FAMILIES.map(({ name, type, help, labels }) => ({ name, type, help, labels })),
      ...held.map(({ name, type, help, labelNames }) => ({ name, type, help, labels: labelNames })),
    ];
  }

  /** A counter whose value somebody else keeps. */
  #counted(name: string, help: string, read: () => number): Counter {
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
    const held = await this.#registry.metrics();
    yield format === 'openmetrics' ? toOpenMetrics(held) : held;
    const targets = [...this.#targets.values()];
    for (const family of TARGET_FAMILIES) {
      let chunk = header(family, format);
      for (const series of targets) {
        chunk += family.write(series, format);
        if (chunk.length < CHUNK_LENGTH) continue;
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
