import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import type { Clock } from '../clock/clock.ts';

/** Source: every second bound of controller-runtime, pkg/internal/controller/metrics. */
const RECONCILE_BOUNDS_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Source: client-go's workqueue metrics, which also have one bound per decade but start at 10 ns. */
const QUEUE_BOUNDS_SECONDS = [0.0001, 0.001, 0.01, 0.1, 1, 10, 100];
const REQUEST_BOUNDS_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const LAG_BOUNDS_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

const RECONCILE_RESULTS = ['success', 'error', 'requeue', 'requeue_after'] as const;
export type ReconcileResult = (typeof RECONCILE_RESULTS)[number];

/**
 * Metrics of the operator's components. Where controller-runtime has the same metric, the name is the same, so existing
 * dashboards work. Each method returns the metrics recorder of one component.
 */
export class OperatorMetrics {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #requests;
  readonly #requestDuration;
  readonly #depth;
  readonly #adds;
  readonly #queueDuration;
  readonly #workDuration;
  readonly #retries;
  readonly #reconciles;
  readonly #reconcileErrors;
  readonly #reconcileTime;
  readonly #activeWorkers;
  readonly #maxConcurrent;
  readonly #leading;
  readonly #lists;
  readonly #watches;
  readonly #lastEvent;
  readonly #items;
  readonly #forbiddenNamespaces;
  readonly #startLag;
  readonly #coalesced;
  readonly #missed;
  readonly #inFlight;
  readonly #waiting;
  readonly #entries;
  readonly #events;
  readonly #eventsDropped;
  /** Start times of the keys in progress, by queue name. Monotonic, ms. */
  readonly #workStartsMs = new Map<string, number[]>();

  constructor(registry: Registry, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
    const host = ['host'] as const;
    const queue = ['name', 'controller'] as const;
    const controller = ['controller'] as const;
    const kind = ['kind'] as const;
    this.#requests = this.#counter('rest_client_requests_total', 'Requests to the API server.', [
      'code',
      'method',
      ...host,
    ]);
    this.#requestDuration = this.#histogram(
      'rest_client_request_duration_seconds',
      'Response time of the API server.',
      ['verb', ...host],
      REQUEST_BOUNDS_SECONDS,
    );

    this.#depth = this.#gauge('workqueue_depth', 'Keys waiting in the queue.', queue);
    this.#adds = this.#counter('workqueue_adds_total', 'Keys added to the queue.', queue);
    this.#queueDuration = this.#histogram(
      'workqueue_queue_duration_seconds',
      'Time that keys waited in the queue.',
      queue,
      QUEUE_BOUNDS_SECONDS,
    );
    this.#workDuration = this.#histogram(
      'workqueue_work_duration_seconds',
      'Processing time of keys.',
      queue,
      QUEUE_BOUNDS_SECONDS,
    );
    this.#retries = this.#counter('workqueue_retries_total', 'Keys requeued after an error.', queue);
    this.#unfinishedGauges(queue);

    this.#reconciles = this.#counter('controller_runtime_reconcile_total', 'Reconciliations by result.', [
      ...controller,
      'result',
    ]);
    this.#reconcileErrors = this.#counter(
      'controller_runtime_reconcile_errors_total',
      'Reconciliations that failed with an error.',
      controller,
    );
    this.#reconcileTime = this.#histogram(
      'controller_runtime_reconcile_time_seconds',
      'Duration of reconciliations.',
      controller,
      RECONCILE_BOUNDS_SECONDS,
    );
    this.#activeWorkers = this.#gauge(
      'controller_runtime_active_workers',
      'Workers that are currently reconciling.',
      controller,
    );
    this.#maxConcurrent = this.#gauge(
      'controller_runtime_max_concurrent_reconciles',
      'Total number of workers.',
      controller,
    );
    this.#leading = this.#gauge(
      'leader_election_master_status',
      '1 if this replica holds the Lease, otherwise 0.',
      ['name'],
    );

    this.#lists = this.#counter('storage_probe_reflector_lists_total', 'Full lists completed.', kind);
    this.#watches = this.#counter('storage_probe_reflector_watches_total', 'Watches opened.', kind);
    this.#lastEvent = this.#gauge(
      'storage_probe_reflector_last_event_timestamp_seconds',
      'Time of the last watch event or bookmark.',
      kind,
    );
    this.#items = this.#gauge('storage_probe_reflector_items', 'Resources in the cache.', kind);
    this.#forbiddenNamespaces = this.#gauge(
      'storage_probe_forbidden_namespaces',
      'Namespaces in --watch-namespaces that are skipped because listing or watching is forbidden.',
    );

    this.#startLag = this.#histogram(
      'storage_probe_start_lag_seconds',
      'Delay between the due time of a run and its start.',
      ['trigger'],
      LAG_BOUNDS_SECONDS,
    );
    this.#coalesced = this.#counter(
      'storage_probe_ticks_coalesced_total',
      'Due times skipped because an earlier run of the target was waiting or in progress.',
    );
    this.#missed = this.#counter(
      'storage_probe_runs_missed_total',
      'Runs skipped because they would have started too late.',
    );
    this.#inFlight = this.#gauge('storage_probe_runs_in_flight', 'Runs in progress.');
    this.#waiting = this.#gauge(
      'storage_probe_runs_waiting',
      'Runs that are due and waiting for a free slot.',
    );
    this.#entries = this.#gauge('storage_probe_targets', 'Targets on the schedule.');

    this.#events = this.#counter('storage_probe_events_total', 'Events written.');
    this.#eventsDropped = this.#counter(
      'storage_probe_events_dropped_total',
      'Events not written because there were too many or the API server rejected them.',
    );
  }

  /** @param host the API server's host. */
  kubeClient(host: string) {
    return {
      request: (method: string, code: string, durationMs: number): void => {
        this.#requests.inc({ code, method, host });
        this.#requestDuration.observe({ verb: method, host }, durationMs / 1_000);
      },
    };
  }

  workQueue(name: string) {
    const labels = { name, controller: name };
    this.#depth.set(labels, 0);
    this.#adds.inc(labels, 0);
    this.#retries.inc(labels, 0);
    const startsMs: number[] = [];
    this.#workStartsMs.set(name, startsMs);
    return {
      depth: (keys: number): void => {
        this.#depth.set(labels, keys);
      },
      added: (): void => {
        this.#adds.inc(labels);
      },
      queued: (ms: number): void => {
        this.#queueDuration.observe(labels, ms / 1_000);
        startsMs.push(this.#clock.monotonicMs());
      },
      worked: (ms: number): void => {
        this.#workDuration.observe(labels, ms / 1_000);
        removeNearest(startsMs, this.#clock.monotonicMs() - ms);
      },
      retried: (): void => {
        this.#retries.inc(labels);
      },
    };
  }

  controller(name: string, workers: number) {
    const labels = { controller: name };
    for (const result of RECONCILE_RESULTS) this.#reconciles.inc({ ...labels, result }, 0);
    this.#reconcileErrors.inc(labels, 0);
    this.#activeWorkers.set(labels, 0);
    this.#maxConcurrent.set(labels, workers);
    return {
      reconciled: (result: ReconcileResult, ms: number): void => {
        this.#reconciles.inc({ ...labels, result });
        if (result === 'error') this.#reconcileErrors.inc(labels);
        this.#reconcileTime.observe(labels, ms / 1_000);
      },
      activeWorkers: (count: number): void => {
        this.#activeWorkers.set(labels, count);
      },
    };
  }

  /** @param kind kind of the cached resources. */
  reflector(kind: string) {
    const labels = { kind };
    this.#lists.inc(labels, 0);
    this.#watches.inc(labels, 0);
    return {
      listed: (): void => {
        this.#lists.inc(labels);
      },
      watched: (): void => {
        this.#watches.inc(labels);
      },
      /** @param epochMs time of the event. */
      eventAt: (epochMs: number): void => {
        this.#lastEvent.set(labels, epochMs / 1_000);
      },
      items: (count: number): void => {
        this.#items.set(labels, count);
      },
      forbiddenNamespaces: (count: number): void => {
        this.#forbiddenNamespaces.set(count);
      },
    };
  }

  /** @param name name of the Lease. */
  leader(name: string) {
    this.#leading.set({ name }, 0);
    return {
      leading: (leads: boolean): void => {
        this.#leading.set({ name }, Number(leads));
      },
    };
  }

  scheduler() {
    return {
      started: (trigger: string, lagMs: number): void => {
        this.#startLag.observe({ trigger }, lagMs / 1_000);
      },
      coalesced: (): void => {
        this.#coalesced.inc();
      },
      missed: (runs: number): void => {
        this.#missed.inc(runs);
      },
      inFlight: (runs: number): void => {
        this.#inFlight.set(runs);
      },
      waiting: (runs: number): void => {
        this.#waiting.set(runs);
      },
      entries: (targets: number): void => {
        this.#entries.set(targets);
      },
    };
  }

  events() {
    return {
      recorded: (): void => {
        this.#events.inc();
      },
      dropped: (): void => {
        this.#eventsDropped.inc();
      },
    };
  }

  #unfinishedGauges(labelNames: readonly ['name', 'controller']): void {
    const total = new Gauge({
      name: 'workqueue_unfinished_work_seconds',
      help: 'Total processing time so far of all keys in progress.',
      labelNames,
      registers: [this.#registry],
      collect: () => {
        const nowMs = this.#clock.monotonicMs();
        for (const [name, startsMs] of this.#workStartsMs) {
          const seconds = startsMs.map((startMs) => (nowMs - startMs) / 1_000);
          const labels = { name, controller: name };
          const totalSeconds = seconds.reduce((sum, each) => sum + each, 0);
          total.set(labels, totalSeconds);
          longest.set(labels, Math.max(0, ...seconds));
        }
      },
    });
    // Must be created after the gauge above, which sets it: prom-client reads metrics in creation order.
    const longest = this.#gauge(
      'workqueue_longest_running_processor_seconds',
      'Processing time so far of the longest-running key.',
      labelNames,
    );
  }

  #counter<T extends string = never>(name: string, help: string, labelNames: readonly T[] = []): Counter<T> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge<T extends string = never>(name: string, help: string, labelNames: readonly T[] = []): Gauge<T> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram<T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[],
    buckets: number[],
  ): Histogram<T> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.#registry] });
  }
}

/** Removes the value closest to `wanted`. The queue reports how long a key took, but not which key it was. */
function removeNearest(values: number[], wanted: number): void {
  const distances = values.map((value) => Math.abs(value - wanted));
  values.splice(distances.indexOf(Math.min(...distances)), 1);
}
