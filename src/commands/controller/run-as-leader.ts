import { randomBytes } from 'node:crypto';
import { addAbortListener } from 'node:events';

import PQueue from 'p-queue';
import type { Logger } from 'pino';

import type { Clock } from '../../clock/clock.ts';
import { HeartbeatPacer } from '../../controller/heartbeat-pacer.ts';
import { LeftoverCleaner } from '../../controller/leftover-cleaner.ts';
import type { ProbeCache } from '../../controller/probe-cache.ts';
import { ProbeEntries, probeKey } from '../../controller/probe-entries.ts';
import { ProbeReconciler } from '../../controller/probe-reconciler.ts';
import { ProbeRunner } from '../../controller/probe-runner.ts';
import { KubeObjectReader } from '../../controller/object-reader.ts';
import { RunOwners } from '../../controller/run-owners.ts';
import { runController } from '../../kube/controller.ts';
import { EventRecorder } from '../../kube/event-recorder.ts';
import { errorFields } from '../../kube/error-fields.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { fencedClient } from '../../kube/fenced-client.ts';
import { LeadershipLostError, type Term } from '../../kube/leader-elector.ts';
import { WorkQueue } from '../../kube/work-queue.ts';
import { addressPolicy } from '../../s3/address-policy.ts';
import { createResolver } from '../../s3/create-resolver.ts';
import type { StsDeps } from '../../s3/sts.ts';
import { TargetKeyring } from '../../s3/target-keys.ts';
import { WebIdentity } from '../../s3/web-identity.ts';
import { Scheduler } from '../../scheduler/scheduler.ts';
import type { ProberMetrics } from '../../telemetry/metrics.ts';
import type { Tracing } from '../../telemetry/tracing.ts';
import { readTokenFile } from '../token-file.ts';
import type { ControllerSettings } from './flags.ts';
import { settlesWithin, ShutdownBudget } from './shutdown-budget.ts';

/** Dependencies that exist whether or not the process is the leader. */
export interface LeaderDeps {
  readonly settings: ControllerSettings;
  readonly client: KubeClient;
  readonly cache: ProbeCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ProberMetrics;
  readonly tracing: Tracing;
  readonly version: string;
  readonly identity: string;
  /** `namespace/name` of the Lease. */
  readonly lease: string;
  /** Time for which this process may write to the cluster. 0 if it is not the leader. */
  readonly leadsForMs: () => number;
  /** Sets the scheduler that the liveness probe checks. Undefined while no scheduler is running. */
  readonly setScheduler: (scheduler: Scheduler | undefined) => void;
}

const CONTROLLER = 'storageprobe';
const REPORTER = 'storageprobe.dev/storage-probe';
/** Maximum delay between two attempts to write a status. */
const MAX_RETRY_DELAY_MS = 10_000;
const FIRST_RETRY_DELAY_MS = 100;
const MAX_CONCURRENT_WRITES = 8;
/** Thousands of probes may be applied at once, or fail at once because of a shared store. */
const MAX_QUEUED_EVENTS = 10_000;
/**
 * Share of the shutdown for runs in progress and their clean-up. With the default timeout, this is more than the drain
 * timeout and the time limit for a clean-up together.
 */
const RUNS_SHARE = 0.6;
/** The same for a long drain timeout. */
const MAX_RUNS_SHARE = 0.8;
/** Share of the then remaining time for the last statuses, Events and clean-ups. */
const WRITES_SHARE = 0.4;

/**
 * Runs the probes in the cache, which must have synced, until `signal` aborts. Then starts no further runs, waits for runs in progress or aborts them, and
 * reports their results. When it returns, all work that only the leader may do has stopped.
 *
 * @param term its note is the value that the previous leader returned.
 * @returns the time up to which every due run has started, in ISO 8601. The next leader resumes from there.
 */
export async function runAsLeader(
  deps: LeaderDeps,
  signal: AbortSignal,
  term: Term,
): Promise<string | undefined> {
  const { settings, client, cache, clock, log, metrics, tracing, version, identity } = deps;
  const isLeader = (): boolean => deps.leadsForMs() > 0;
  const { operator } = metrics;
  const budget = new ShutdownBudget(clock, settings.shutdownTimeoutMs, signal);

  const entries = new ProbeEntries();
  const queue = new WorkQueue({
    name: CONTROLLER,
    clock,
    baseDelayMs: FIRST_RETRY_DELAY_MS,
    maxDelayMs: MAX_RETRY_DELAY_MS,
    metrics: operator.workQueue(CONTROLLER),
  });
  const leaderClient = fencedClient(client, { clock, leadsForMs: deps.leadsForMs });
  const events = new EventRecorder({
    client: leaderClient,
    clock,
    random: Math.random,
    log,
    reportingController: REPORTER,
    reportingInstance: identity,
    maxQueued: MAX_QUEUED_EVENTS,
    metrics: operator.events(),
  });
  const probe = {
    clock,
    keyring: new TargetKeyring(),
    randomBytes,
    version,
    addressPolicy: addressPolicy({ allowed: [...settings.allowAddresses] }),
    resolver: createResolver(clock, process.platform),
  };
  const owners = new RunOwners({
    lease: deps.lease,
    term: term.number,
    leadsForMs: deps.leadsForMs,
    clock,
  });
  const runner = new ProbeRunner({
    entries,
    owners,
    objects: new KubeObjectReader({ client, clock, random: Math.random }),
    webIdentity: createWebIdentity(settings, probe),
    tracerFor: (target) => tracing.tracerFor(target),
    probe,
    recordRun: (result) => {
      metrics.recordRun(result);
    },
    onUpdate: (entry) => {
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
    metrics: operator.scheduler(),
  });
  const leftoverCleaner = new LeftoverCleaner({ runner, owners, probe, log });
  const reconciler = new ProbeReconciler({
    client: leaderClient,
    clock,
    random: Math.random,
    entries,
    probeAt: (key) => cache.get(key),
    scheduler,
    runner,
    leftoverCleaner,
    recordEvent: (event) => {
      events.record(event);
    },
    setTarget: (ref, state) => {
      metrics.setTarget(ref, state);
    },
    forgetTarget: (ref) => {
      metrics.forgetTarget(ref);
      // If another probe in the namespace has a target with this name, it gets a new tracer.
      tracing.forget({ namespace: ref.namespace, name: ref.target });
    },
    isLeader,
    heartbeatMs: settings.statusHeartbeatMs,
    heartbeatPacer: new HeartbeatPacer({
      clock,
      heartbeatMs: settings.statusHeartbeatMs,
      probeCount: () => cache.size,
    }),
    startedUntilMs: parseTimeMs(term.note),
  });

  const controllerAbort = new AbortController();
  const subscription = cache.subscribe((key) => {
    queue.add(key);
  });
  const { workers } = settings;
  const controllerRun = runController(
    {
      name: CONTROLLER,
      queue,
      workers,
      reconciler,
      clock,
      log,
      metrics: operator.controller(CONTROLLER, workers),
    },
    controllerAbort.signal,
  );
  deps.setScheduler(scheduler);
  try {
    const runs = scheduler.run(signal);
    await Promise.race([runs, untilAborted(signal)]);
    const runsMs = Math.max(
      budget.stepMs(RUNS_SHARE),
      Math.min(settings.drainTimeoutMs, budget.stepMs(MAX_RUNS_SHARE)),
    );
    if (!(await settlesWithin(runs, runsMs, clock)))
      log.warn({}, 'runs in progress did not finish in time; their results are lost');
  } finally {
    deps.setScheduler(undefined);
    subscription[Symbol.dispose]();
    queue.shutDown();
    controllerAbort.abort();
    await controllerRun;
  }

  using deadline = clock.deadline(budget.stepMs(WRITES_SHARE));
  const statusWrites = Array.from(entries.values(), (entry) => async () => {
    await reconciler.flush(entry, deadline.signal).catch((error: unknown) => {
      log.warn({ probe: probeKey(entry), ...errorFields(error) }, 'could not write the final status');
    });
    reconciler.forget(entry);
  });
  await new PQueue({ concurrency: MAX_CONCURRENT_WRITES }).addAll(statusWrites);
  const isLost = signal.reason instanceof LeadershipLostError;
  // The new leader reports the state of the probes from now on.
  const flushing = isLost ? undefined : events.flush(deadline.signal);
  await Promise.all([leftoverCleaner.finish(deadline.signal), flushing]);
  await events.close();
  const { startedUntilMs } = scheduler;
  return startedUntilMs === undefined ? undefined : new Date(startedUntilMs).toISOString();
}

/** @returns undefined if the administrator has not enabled web identities. */
function createWebIdentity(
  { webIdentityTokenFile: file, webIdentityStsEndpoints }: ControllerSettings,
  deps: StsDeps,
): WebIdentity | undefined {
  if (file === undefined) return undefined;
  return new WebIdentity({
    ...deps,
    readToken: (signal) => readTokenFile(file, signal),
    allowedStsEndpoints: webIdentityStsEndpoints,
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  addAbortListener(signal, () => resolve());
  return promise;
}

function parseTimeMs(text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}
