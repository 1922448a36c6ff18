import { describe, expect, it } from 'vitest';

import { samplesOf } from '../../test/support/exposition.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import type { ControllerMetrics } from '../kube/controller.ts';
import type { KubeClientMetrics } from '../kube/kube-client.ts';
import type { LeaderMetrics } from '../kube/leader-elector.ts';
import type { ReflectorMetrics } from '../kube/reflector.ts';
import type { WorkQueueMetrics } from '../kube/work-queue.ts';
import { ProberMetrics } from './metrics.ts';

function setUp() {
  const clock = new ManualClock();
  const metrics = new ProberMetrics({ clock, version: '1', nodeVersion: 'v24', processMetrics: false });
  return { clock, metrics, operator: metrics.operator };
}

it('reports requests to the API server', async () => {
  const { metrics, operator } = setUp();
  const client: KubeClientMetrics = operator.kubeClient('10.0.0.1:443');
  client.request('GET', '200', 12);
  client.request('GET', '<error>', 30_000);
  expect(await samplesOf(metrics, 'rest_client_requests_total')).toEqual([
    'rest_client_requests_total{code="200",method="GET",host="10.0.0.1:443"} 1',
    'rest_client_requests_total{code="<error>",method="GET",host="10.0.0.1:443"} 1',
  ]);
  expect(await samplesOf(metrics, 'rest_client_request_duration_seconds_sum')).toEqual([
    'rest_client_request_duration_seconds_sum{verb="GET",host="10.0.0.1:443"} 30.012',
  ]);
});

describe('a work queue', () => {
  const LABELS = '{name="probes",controller="probes"}';

  it('starts at zero, so that the first increase is visible', async () => {
    const { metrics, operator } = setUp();
    operator.workQueue('probes');
    expect(await samplesOf(metrics, 'workqueue_')).toEqual([
      `workqueue_depth${LABELS} 0`,
      `workqueue_adds_total${LABELS} 0`,
      `workqueue_retries_total${LABELS} 0`,
      `workqueue_unfinished_work_seconds${LABELS} 0`,
      `workqueue_longest_running_processor_seconds${LABELS} 0`,
    ]);
  });

  it('reports queued and processed keys', async () => {
    const { metrics, operator } = setUp();
    const queue: WorkQueueMetrics = operator.workQueue('probes');
    queue.added();
    queue.depth(1);
    queue.retried();
    queue.queued(20);
    queue.worked(2_000);
    expect(await samplesOf(metrics, `workqueue_adds_total${LABELS}`)).toEqual([
      `workqueue_adds_total${LABELS} 1`,
    ]);
    expect(await samplesOf(metrics, `workqueue_depth${LABELS}`)).toEqual([`workqueue_depth${LABELS} 1`]);
    expect(await samplesOf(metrics, `workqueue_retries_total${LABELS}`)).toEqual([
      `workqueue_retries_total${LABELS} 1`,
    ]);
    expect(await samplesOf(metrics, 'workqueue_queue_duration_seconds_sum')).toEqual([
      `workqueue_queue_duration_seconds_sum${LABELS} 0.02`,
    ]);
    expect(await samplesOf(metrics, 'workqueue_work_duration_seconds_sum')).toEqual([
      `workqueue_work_duration_seconds_sum${LABELS} 2`,
    ]);
  });

  it('reports work in progress', async () => {
    const { clock, metrics, operator } = setUp();
    const queue = operator.workQueue('probes');
    queue.queued(0);
    await clock.advance(1_000);
    queue.queued(0);
    await clock.advance(4_000);
    expect(await unfinished()).toEqual(['9', '5']);
    queue.worked(5_000);
    expect(await unfinished()).toEqual(['4', '4']);
    queue.worked(4_000);
    expect(await unfinished()).toEqual(['0', '0']);

    async function unfinished(): Promise<(string | undefined)[]> {
      const [total] = await samplesOf(metrics, 'workqueue_unfinished');
      const [longest] = await samplesOf(metrics, 'workqueue_longest');
      return [total, longest].map((line) => line?.split(' ').at(-1));
    }
  });
});

it('reports reconciliations', async () => {
  const { metrics, operator } = setUp();
  const controller: ControllerMetrics = operator.controller('probes', 4);
  controller.reconciled('success', 10);
  controller.reconciled('error', 20);
  controller.activeWorkers(2);
  expect(await samplesOf(metrics, 'controller_runtime_reconcile_total')).toEqual([
    'controller_runtime_reconcile_total{controller="probes",result="success"} 1',
    'controller_runtime_reconcile_total{controller="probes",result="error"} 1',
    'controller_runtime_reconcile_total{controller="probes",result="requeue"} 0',
    'controller_runtime_reconcile_total{controller="probes",result="requeue_after"} 0',
  ]);
  expect(await samplesOf(metrics, 'controller_runtime_reconcile_errors')).toEqual([
    'controller_runtime_reconcile_errors_total{controller="probes"} 1',
  ]);
  expect(await samplesOf(metrics, 'controller_runtime_reconcile_time_seconds_sum')).toEqual([
    'controller_runtime_reconcile_time_seconds_sum{controller="probes"} 0.03',
  ]);
  expect(await samplesOf(metrics, 'controller_runtime_active')).toEqual([
    'controller_runtime_active_workers{controller="probes"} 2',
  ]);
  expect(await samplesOf(metrics, 'controller_runtime_max')).toEqual([
    'controller_runtime_max_concurrent_reconciles{controller="probes"} 4',
  ]);
});

it('reports caches and the Lease', async () => {
  const { metrics, operator } = setUp();
  const reflector: ReflectorMetrics = operator.reflector('StorageProbe');
  reflector.listed();
  reflector.watched();
  reflector.watched();
  reflector.eventAt(1_500);
  reflector.items(3);
  const leader: LeaderMetrics = operator.leader('storage-probe');
  leader.leading(true);
  expect(await samplesOf(metrics, 'storage_probe_reflector')).toEqual([
    'storage_probe_reflector_lists_total{kind="StorageProbe"} 1',
    'storage_probe_reflector_watches_total{kind="StorageProbe"} 2',
    'storage_probe_reflector_last_event_timestamp_seconds{kind="StorageProbe"} 1.5',
    'storage_probe_reflector_items{kind="StorageProbe"} 3',
  ]);
  expect(await samplesOf(metrics, 'leader')).toEqual([
    'leader_election_master_status{name="storage-probe"} 1',
  ]);
});

it('reports the schedule and Events', async () => {
  const { metrics, operator } = setUp();
  const scheduler = operator.scheduler();
  scheduler.started('schedule', 4);
  scheduler.coalesced();
  scheduler.missed(3);
  scheduler.inFlight(2);
  scheduler.waiting(1);
  scheduler.entries(5);
  const events = operator.events();
  events.recorded();
  events.dropped();
  const lines = [
    ...(await samplesOf(metrics, 'storage_probe_start_lag_seconds_sum')),
    ...(await samplesOf(metrics, 'storage_probe_ticks')),
    ...(await samplesOf(metrics, 'storage_probe_runs')),
    ...(await samplesOf(metrics, 'storage_probe_targets')),
    ...(await samplesOf(metrics, 'storage_probe_events')),
  ];
  expect(lines).toEqual([
    'storage_probe_start_lag_seconds_sum{trigger="schedule"} 0.004',
    'storage_probe_ticks_coalesced_total 1',
    'storage_probe_runs_missed_total 3',
    'storage_probe_runs_in_flight 2',
    'storage_probe_runs_waiting 1',
    'storage_probe_targets 5',
    'storage_probe_events_total 1',
    'storage_probe_events_dropped_total 1',
  ]);
});
