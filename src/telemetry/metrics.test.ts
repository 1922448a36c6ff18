import { setImmediate } from 'node:timers/promises';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { openMetricsErrors, OPENMETRICS, samplesOf, textOf } from '../../test/support/exposition.ts';
import { type ResultOptions, runResult } from '../../test/support/run-result.ts';
import type { RunResult } from '../api/run.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { ProberMetrics, type ProberMetricsOptions } from './metrics.ts';
import type { TargetRef } from './target-series.ts';

const REF: TargetRef = { namespace: 'storage', probe: 'my-minio', target: 'my-minio' };
const LABELS = 'namespace="storage",probe="my-minio",target="my-minio"';
const FAILED: ResultOptions = { failed: { step: 'ADD_OBJECT', reason: 'QuorumLost' } };
const CANCELLED: ResultOptions = { failed: { step: 'ADD_OBJECT', reason: 'Cancelled' } };

function proberMetrics(options: Partial<ProberMetricsOptions> = {}): ProberMetrics {
  return new ProberMetrics({
    clock: new ManualClock(),
    version: '1.2.3',
    nodeVersion: 'v24.0.0',
    processMetrics: false,
    ...options,
  });
}

/** Metrics of one target and the given runs. */
function metricsWith(...runs: (ResultOptions & Partial<RunResult>)[]): ProberMetrics {
  const metrics = proberMetrics();
  metrics.setTarget(REF, { consecutiveFailures: 0 });
  for (const { target = REF.target, stepMs, failed, call, ...rest } of runs) {
    const options = {
      target,
      ...(stepMs !== undefined && { stepMs }),
      ...(failed && { failed }),
      ...(call && { call }),
    };
    metrics.recordRun({ ...runResult(options), ...rest });
  }
  return metrics;
}

describe('target metrics', () => {
  it('include the duration of a run and its steps', async () => {
    const metrics = metricsWith({ stepMs: 5, target: 'my-minio' });
    expect(await samplesOf(metrics, 'storage_probe_run_duration')).toEqual([
      ...['0.001', '0.003', '0.01'].map(
        (le) => `storage_probe_run_duration_seconds_bucket{${LABELS},le="${le}"} 0`,
      ),
      ...['0.03', '0.1', '0.3', '1', '3', '10', '30', '+Inf'].map(
        (le) => `storage_probe_run_duration_seconds_bucket{${LABELS},le="${le}"} 1`,
      ),
      `storage_probe_run_duration_seconds_sum{${LABELS}} 0.03`,
      `storage_probe_run_duration_seconds_count{${LABELS}} 1`,
    ]);
    expect(await samplesOf(metrics, 'storage_probe_step_duration_seconds_count')).toEqual(
      ['CHECK_BUCKET', 'CREATE_OBJECT', 'ADD_OBJECT', 'FETCH_OBJECT', 'REMOVE_OBJECT', 'REMOVE_BUCKET'].map(
        (name) => `storage_probe_step_duration_seconds_count{${LABELS},function_name="${name}"} 1`,
      ),
    );
  });

  it('include seconds and number of every phase, except in runs without a verdict', async () => {
    const phases = { tlsMs: 250, firstByteMs: 500 };
    const metrics = metricsWith({ call: { phases } }, { ...CANCELLED, call: { phases } });
    expect(await samplesOf(metrics, 'storage_probe_phase_duration_seconds')).toEqual([
      `storage_probe_phase_duration_seconds_sum{${LABELS},phase="tls"} 1.5`,
      `storage_probe_phase_duration_seconds_count{${LABELS},phase="tls"} 6`,
      `storage_probe_phase_duration_seconds_sum{${LABELS},phase="first_byte"} 3`,
      `storage_probe_phase_duration_seconds_count{${LABELS},phase="first_byte"} 6`,
    ]);
  });

  it('count runs by verdict and reason', async () => {
    const metrics = metricsWith({}, {}, FAILED, CANCELLED);
    expect(await samplesOf(metrics, 'storage_probe_runs_total')).toEqual([
      `storage_probe_runs_total{${LABELS},verdict="Passed",reason=""} 2`,
      `storage_probe_runs_total{${LABELS},verdict="Failed",reason="QuorumLost"} 1`,
      `storage_probe_runs_total{${LABELS},verdict="Unknown",reason="Cancelled"} 1`,
    ]);
  });

  it('include the duration of passed and failed runs, but not of unknown ones', async () => {
    expect(
      await samplesOf(metricsWith({}, FAILED, CANCELLED), 'storage_probe_run_duration_seconds_count'),
    ).toEqual([`storage_probe_run_duration_seconds_count{${LABELS}} 2`]);
  });

  it('keep the latest start times when an older state is set', async () => {
    const metrics = metricsWith(
      { startTime: '2026-11-22T12:00:00.500Z' },
      { startTime: '2026-11-22T12:00:30Z', ...FAILED },
    );
    metrics.setTarget(REF, { consecutiveFailures: 1, lastRunMs: 0, lastSuccessMs: 0 });
    expect(await samplesOf(metrics, 'storage_probe_last_')).toEqual([
      `storage_probe_last_run_timestamp_seconds{${LABELS}} ${Date.UTC(2026, 10, 22, 12, 0, 30) / 1_000}`,
      `storage_probe_last_success_timestamp_seconds{${LABELS}} ${Date.UTC(2026, 10, 22, 12) / 1_000 + 0.5}`,
    ]);
  });

  it('show the state that was set', async () => {
    const metrics = proberMetrics();
    const lastRunMs = 1_795_348_800_000;
    metrics.setTarget(REF, {
      healthy: false,
      consecutiveFailures: 3,
      scheduleIntervalMs: 30_000,
      lastRunMs,
      lastSuccessMs: lastRunMs - 60_000,
      nextRunMs: () => lastRunMs + 30_000,
    });
    const gauges = (await textOf(metrics)).split('\n').filter((line) => line.includes(`{${LABELS}} `));
    expect(gauges.filter((line) => !line.includes('duration'))).toEqual([
      `storage_probe_healthy{${LABELS}} 0`,
      `storage_probe_consecutive_failures{${LABELS}} 3`,
      `storage_probe_last_run_timestamp_seconds{${LABELS}} 1795348800`,
      `storage_probe_last_success_timestamp_seconds{${LABELS}} 1795348740`,
      `storage_probe_schedule_interval_seconds{${LABELS}} 30`,
      `storage_probe_next_run_timestamp_seconds{${LABELS}} 1795348830`,
    ]);
  });

  it('read the next due time at each scrape', async () => {
    const metrics = proberMetrics();
    const dueTimesMs = [30_000, 60_000, undefined];
    metrics.setTarget(REF, { consecutiveFailures: 0, nextRunMs: () => dueTimesMs.shift() });
    const name = 'storage_probe_next_run_timestamp_seconds';
    expect(await samplesOf(metrics, name)).toEqual([`${name}{${LABELS}} 30`]);
    expect(await samplesOf(metrics, name)).toEqual([`${name}{${LABELS}} 60`]);
    expect(await samplesOf(metrics, name)).toEqual([]);
  });

  it('omit the health while it is unknown', async () => {
    const metrics = proberMetrics();
    metrics.setTarget(REF, { healthy: true, consecutiveFailures: 0 });
    expect(await samplesOf(metrics, 'storage_probe_healthy')).toHaveLength(1);
    metrics.setTarget(REF, { consecutiveFailures: 0 });
    expect(await samplesOf(metrics, 'storage_probe_healthy')).toEqual([]);
  });

  it('show the expiry of the last certificate', async () => {
    const metrics = metricsWith({ call: { certificateNotAfter: '2027-01-01T00:00:00Z' } }, FAILED);
    expect(await samplesOf(metrics, 'storage_probe_certificate')).toEqual([
      `storage_probe_certificate_not_after_timestamp_seconds{${LABELS}} ${Date.UTC(2027, 0, 1) / 1_000}`,
    ]);
  });

  it('omit the certificate once a run passes without TLS', async () => {
    const metrics = metricsWith({ call: { certificateNotAfter: '2027-01-01T00:00:00Z' } }, {});
    expect(await samplesOf(metrics, 'storage_probe_certificate')).toEqual([]);
  });

  it('have exemplars with trace IDs on buckets and counters, in OpenMetrics', async () => {
    const metrics = metricsWith({ stepMs: 5 }, { stepMs: 5, traceId: 'f'.repeat(32) }, { stepMs: 5_000 });
    const [endShort, endLong] = [1_795_348_800 + 0.03, 1_795_348_800 + 30];
    const buckets = await samplesOf(metrics, 'storage_probe_run_duration_seconds_bucket', OPENMETRICS);
    expect(buckets.filter((line) => line.includes('#'))).toEqual([
      `storage_probe_run_duration_seconds_bucket{${LABELS},le="0.03"} 2 # {trace_id="${'f'.repeat(32)}"} 0.03 ${endShort}`,
      `storage_probe_run_duration_seconds_bucket{${LABELS},le="30"} 3 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 30 ${endLong}`,
    ]);
    expect(await samplesOf(metrics, 'storage_probe_runs_total', OPENMETRICS)).toEqual([
      `storage_probe_runs_total{${LABELS},verdict="Passed",reason=""} 3 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 1 ${endLong}`,
    ]);
    expect(await textOf(metrics)).not.toContain('trace_id');
  });
});

describe('forgetTarget', () => {
  it('removes all series of 1,000 targets and keeps the others', async () => {
    const metrics = metricsWith({}, FAILED);
    const before = await textOf(metrics);
    const refs = Array.from({ length: 1_000 }, (_, index) => ({
      namespace: `storage-${index % 7}`,
      probe: `my-minio-${index % 100}`,
      target: `store-${index}`,
    }));
    for (const [index, ref] of refs.entries()) {
      metrics.setTarget(ref, { healthy: true, consecutiveFailures: 0, scheduleIntervalMs: 30_000 });
      for (const options of [{}, FAILED, CANCELLED]) {
        const result = runResult({ ...options, target: ref.target, stepMs: index });
        metrics.recordRun({ ...result, probe: { namespace: ref.namespace, name: ref.probe } });
      }
    }
    expect((await textOf(metrics)).length).toBeGreaterThan(500 * before.length);
    for (const ref of refs) metrics.forgetTarget(ref);
    expect(await textOf(metrics)).toBe(before);
  });

  it('ignores a run that finishes afterwards', async () => {
    const metrics = metricsWith({});
    metrics.forgetTarget(REF);
    metrics.recordRun(runResult());
    expect(await textOf(metrics)).toBe(await textOf(proberMetrics()));
  });

  it('resets the series of a target that is added again', async () => {
    const metrics = metricsWith({}, FAILED);
    metrics.forgetTarget(REF);
    metrics.setTarget(REF, { consecutiveFailures: 0 });
    expect(await samplesOf(metrics, 'storage_probe_runs_total')).toEqual([]);
  });
});

describe('the exposition', () => {
  it('is valid OpenMetrics with any label values', async () => {
    const word = fc.string({ unit: fc.constantFrom('a', '-', '"', '\\', '\n', '{', '}', ' # ', 'ü') });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.record({ namespace: word, probe: word, target: word }), {
          // Kubernetes names contain no slash.
          selector: ({ namespace, probe, target }) => `${namespace}/${probe}/${target}`,
        }),
        async (refs) => {
          const metrics = proberMetrics({ spanCounts: () => ({ delivered: 1, dropped: 0 }) });
          for (const ref of refs) {
            metrics.setTarget(ref, { healthy: true, consecutiveFailures: 1e21, lastRunMs: 1.5 });
            for (const options of [{}, FAILED]) {
              const result = runResult({ ...options, target: ref.target });
              metrics.recordRun({ ...result, probe: { namespace: ref.namespace, name: ref.probe } });
            }
          }
          expect(openMetricsErrors(await textOf(metrics, OPENMETRICS))).toEqual([]);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('is valid OpenMetrics with process metrics', async () => {
    const metrics = proberMetrics({ processMetrics: true });
    const text = await textOf(metrics, OPENMETRICS);
    expect(openMetricsErrors(text)).toEqual([]);
    expect(text).toMatch(/^nodejs_eventloop_lag_max_seconds [\d.]+$/m);
    expect(text).toMatch(/^process_cpu_seconds_total [\d.]+$/m);
  });

  it('does not change after a request for the other format', async () => {
    const metrics = metricsWith({}, FAILED);
    const [plain, open] = [await textOf(metrics), await textOf(metrics, OPENMETRICS)];
    const [plainAgain, openAgain] = await Promise.all([textOf(metrics), textOf(metrics, OPENMETRICS)]);
    expect([plainAgain, openAgain]).toEqual([plain, open]);
    expect(plain).toContain('# TYPE storage_probe_runs_total counter\n');
    expect(open).toContain('# TYPE storage_probe_runs counter\n');
    expect(metrics.expose(OPENMETRICS).contentType).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    expect(metrics.expose('*/*').contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  it('yields to the event loop between small chunks', async () => {
    const metrics = proberMetrics();
    for (let index = 0; index < 200; index += 1) {
      const target = `store-${index}`;
      metrics.setTarget({ ...REF, target }, { consecutiveFailures: 0 });
      metrics.recordRun(runResult({ target }));
    }
    let turns = 0;
    const stop = new AbortController();
    const counter = (async () => {
      for (; !stop.signal.aborted; await setImmediate()) turns += 1;
    })();
    let chunks = 0;
    for await (const chunk of metrics.expose().chunks) {
      chunks += 1;
      expect(chunk.length).toBeLessThan(100_000);
    }
    stop.abort();
    await counter;
    expect(chunks).toBeGreaterThan(20);
    expect(turns).toBeGreaterThan(chunks / 2);
  });

  it('contains exactly the metrics that describe() lists', async () => {
    const metrics = proberMetrics({ spanCounts: () => ({ delivered: 0, dropped: 0 }) });
    const exposed = (await textOf(metrics)).matchAll(/^# TYPE (\w+) (\w+)$/gm);
    expect(new Set([...exposed].map(([, name, type]) => `${name} ${type}`))).toEqual(
      new Set(metrics.describe().map(({ name, type }) => `${name} ${type}`)),
    );
  });
});

it('reports the build and the span counts', async () => {
  let delivered = 1;
  const metrics = proberMetrics({ spanCounts: () => ({ delivered, dropped: 2 }) });
  delivered = 7;
  expect(await samplesOf(metrics, 'storage_probe_build_info')).toEqual([
    'storage_probe_build_info{version="1.2.3",node_version="v24.0.0"} 1',
  ]);
  for (let scrape = 0; scrape < 2; scrape += 1) {
    expect(await samplesOf(metrics, 'storage_probe_spans')).toEqual([
      'storage_probe_spans_exported_total 7',
      'storage_probe_spans_dropped_total 2',
    ]);
  }
});
