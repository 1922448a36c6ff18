import { randomBytes } from 'node:crypto';

import PQueue from 'p-queue';
import type { Logger } from 'pino';

import type { Clock } from '../../clock/clock.ts';
import { Leftovers } from '../../controller/leftovers.ts';
import type { ProbeCache } from '../../controller/probe-cache.ts';
import { ProbeEntries, probeKey } from '../../controller/probe-entries.ts';
import { ProbeReconciler } from '../../controller/probe-reconciler.ts';
import { ProbeRunner } from '../../controller/probe-runner.ts';
import { KubeSecretReader } from '../../controller/secret-reader.ts';
import { runController } from '../../kube/controller.ts';
import { EventRecorder } from '../../kube/event-recorder.ts';
import { faultOf } from '../../kube/fault.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { WorkQueue } from '../../kube/work-queue.ts';
import { addressPolicy } from '../../s3/address-policy.ts';
import { TargetKeyring } from '../../s3/target-keys.ts';
import { Scheduler } from '../../scheduler/scheduler.ts';
import type { ProberMetrics } from '../../telemetry/metrics.ts';
import type { Tracing } from '../../telemetry/tracing.ts';
import type { ControllerSettings } from './flags.ts';
import { timeLeft } from './time-left.ts';

/** What a prober has whether it leads or not. */
export interface LeadParts {
  readonly settings: ControllerSettings;
  readonly client: KubeClient;
  readonly cache: ProbeCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ProberMetrics;
  readonly tracing: Tracing;
  readonly version: string;
  readonly identity: string;
  readonly isLeader: () => boolean;
  /** Told of the scheduler while there is one, for the liveness probe. */
  readonly onScheduler: (scheduler: Scheduler | undefined) => void;
}

const CONTROLLER = 'storageprobe';
const REPORTER = 'storageprobe.dev/storage-probe';
/** A status that could not be written is tried again at least so often. */
const MAX_RETRY_DELAY_MS = 10_000;
const FIRST_RETRY_DELAY_MS = 100;
const WRITES_AT_ONCE = 8;
/** Thousands of probes may be applied, or a store of thousands may go, in one moment. */
const MAX_QUEUED_EVENTS = 10_000;

/**
 * Runs the probes until `signal` aborts. Then no run starts any more; those under way end or are broken off, what they
 * told is written down, and all that one who does not lead must not do has ended.
 *
 * @param startedUntil what the leader before resolved with, if it ended in good order.
 * @returns the time up to which all due times were met, in ISO 8601: the next leader goes on from there.
 */
export async function lead(
  parts: LeadParts,
  signal: AbortSignal,
  startedUntil?: string,
): Promise<string | undefined> {
  const { settings, client, cache, clock, log, metrics, tracing, version, identity, isLeader } = parts;
  const { machinery } = metrics;
  const leftMs = timeLeft(clock, settings.shutdownTimeoutMs, signal);
  await cache.untilSynced(signal);

  const entries = new ProbeEntries();
  const queue = new WorkQueue({
    name: CONTROLLER,
    clock,
    baseDelayMs: FIRST_RETRY_DELAY_MS,
    maxDelayMs: MAX_RETRY_DELAY_MS,
    metrics: machinery.workQueue(CONTROLLER),
  });
  const events = new EventRecorder({
    client,
    clock,
    random: Math.random,
    log,
    reportingController: REPORTER,
    reportingInstance: identity,
    maxQueued: MAX_QUEUED_EVENTS,
    metrics: machinery.events(),
  });
  const probe = {
    clock,
    keyring: new TargetKeyring(),
    randomBytes,
    version,
    addressPolicy: addressPolicy({ allowed: [...settings.allowAddresses] }),
  };
  const runner = new ProbeRunner({
    entries,
    secrets: new KubeSecretReader({ client, clock, random: Math.random }),
    tracerFor: (target) => tracing.tracerFor(target),
    probe,
    recordRun: (result) => {
      metrics.recordRun(result);
    },
    onNews: (entry) => {
      queue.add(probeKey(entry));
    },
    log,
  });
  const scheduler = new Scheduler({
    clock,
    log,
    start: (run, stopping) => runner.run(run, stopping),
    maxInFlight: settings.maxRuns,
    drainMs: settings.drainTimeoutMs,
    metrics: machinery.scheduler(),
  });
  const leftovers = new Leftovers({ runner, probe, log });
  const reconciler = new ProbeReconciler({
    client,
    clock,
    random: Math.random,
    entries,
    probeAt: (key) => cache.get(key),
    scheduler,
    runner,
    leftovers,
    recordEvent: (event) => {
      events.record(event);
    },
    setTarget: (ref, state) => {
      metrics.setTarget(ref, state);
    },
    forgetTarget: (ref) => {
      metrics.forgetTarget(ref);
      // Another probe with a target of this name gets a new tracer.
      tracing.forget(ref.target);
    },
    isLeader,
    heartbeatMs: settings.statusHeartbeatMs,
    startedUntilMs: timeIn(startedUntil),
  });

  const working = new AbortController();
  const subscription = cache.subscribe((key) => {
    queue.add(key);
  });
  const { workers } = settings;
  const controlling = runController(
    {
      name: CONTROLLER,
      queue,
      workers,
      reconciler,
      clock,
      log,
      metrics: machinery.controller(CONTROLLER, workers),
    },
    working.signal,
  );
  parts.onScheduler(scheduler);
  try {
    await scheduler.run(signal);
  } finally {
    parts.onScheduler(undefined);
    subscription[Symbol.dispose]();
    queue.shutDown();
    working.abort();
    await controlling;
  }

  // The other half is for the release of the Lease and the last spans.
  using deadline = clock.deadline(leftMs() / 2);
  const flushes = Array.from(entries.values(), (entry) => async () => {
    await reconciler.flush(entry, deadline.signal).catch((error: unknown) => {
      log.warn({ probe: probeKey(entry), ...faultOf(error) }, 'status was not written');
    });
    reconciler.forget(entry);
  });
  await new PQueue({ concurrency: WRITES_AT_ONCE }).addAll(flushes);
  await Promise.all([leftovers.finish(deadline.signal), events.flush(deadline.signal)]);
  await events.close();
  const { startedUntilMs } = scheduler;
  return startedUntilMs === undefined ? undefined : new Date(startedUntilMs).toISOString();
}

function timeIn(text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}
