import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import type { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';

import { ProbeCache } from '../../controller/probe-cache.ts';
import { eventLoopCheck, healthHandler, progressCheck, readyCheck } from '../../http/health.ts';
import { type HttpHandler, HttpServer, ListenError } from '../../http/server.ts';
import { HttpKubeClient } from '../../kube/http-kube-client.ts';
import { KubeConfigError, loadKubeConfig } from '../../kube/kube-config.ts';
import { LeaderElector } from '../../kube/leader-elector.ts';
import type { Scheduler } from '../../scheduler/scheduler.ts';
import { createLogger } from '../../telemetry/logs.ts';
import { ProberMetrics } from '../../telemetry/metrics.ts';
import { startTracing } from '../../telemetry/tracing.ts';
import { type CommandContext, EXIT, type ExitCode, InputError } from '../context.ts';
import { createSpanExporters } from '../span-exporter.ts';
import type { ControllerSettings } from './flags.ts';
import { type LeaderDeps, runAsLeader } from './run-as-leader.ts';
import { finishesInTime, ShutdownBudget } from './shutdown-budget.ts';

/** Shorter delay and longer queue than OpenTelemetry's defaults, because an operator exports many spans. */
const BATCH_DEFAULTS = { OTEL_BSP_SCHEDULE_DELAY: '500', OTEL_BSP_MAX_QUEUE_SIZE: '8192' };
/** Lease annotation that records where the next leader resumes. */
const STARTED_UNTIL_ANNOTATION = 'storageprobe.dev/started-until';
/** The scheduler makes progress every few seconds, even if no run is due. */
const MAX_SCHEDULER_IDLE_MS = 30_000;
const MAX_EVENT_LOOP_DELAY_MS = 10_000;
const EVENT_LOOP_RESOLUTION_MS = 50;
/** Share of the remaining shutdown time for releasing the Lease. The rest is for the last spans. */
const RELEASE_SHARE = 0.4;

/**
 * Runs the StorageProbes in a cluster until the process is asked to stop.
 *
 * @throws {InputError} if a setting cannot be used. No run has started by then.
 */
export async function controller(settings: ControllerSettings, context: CommandContext): Promise<ExitCode> {
  const { clock, signal, stderr, stdout, version } = context;
  const budget = new ShutdownBudget(clock, settings.shutdownTimeoutMs, signal);
  const log = createLogger(settings.logLevel, stderr);
  const onDeliveryChange = (error?: string): void => {
    if (error === undefined) log.info({}, 'span delivery recovered');
    else log.warn({ error }, 'span delivery failed');
  };
  const { exporter, otlp } = await createSpanExporters({ console: stdout, onDeliveryChange }, context);
  const metrics = new ProberMetrics({
    clock,
    version,
    nodeVersion: process.version,
    ...(otlp && { spanCounts: () => otlp.exporter.counts }),
  });
  setEnvDefaults(BATCH_DEFAULTS);
  const tracing = await startTracing({
    exporter,
    version,
    onDiagnostic: (level, message) => {
      log[level]({ message }, 'OpenTelemetry reported a problem');
    },
  });

  const config = resolveKubeConfig(settings, context.env);
  const server = config.getCurrentCluster()?.server ?? '';
  const client = new HttpKubeClient({
    config,
    clock,
    userAgent: `storage-probe/${version} (${process.platform}/${process.arch})`,
    metrics: metrics.operator.kubeClient(URL.parse(server)?.host ?? server),
  });
  const cache = new ProbeCache({
    client,
    clock,
    random: Math.random,
    log,
    namespaces: settings.watchNamespaces,
    metrics: metrics.operator.reflector('StorageProbe'),
  });
  const identity = settings.identity ?? `${hostname()}_${randomUUID()}`.slice(-128);
  const namespace =
    settings.leaderElectionNamespace ??
    config.getContextObject(config.getCurrentContext())?.namespace ??
    'default';
  const elector = new LeaderElector({
    client,
    clock,
    random: Math.random,
    log,
    namespace,
    name: settings.leaderElectionId,
    identity,
    // Without the API server, the leader misses changes but keeps probing, since probes matter most in an outage.
    keepsLeadershipWhileUnreachable: true,
    noteAnnotation: STARTED_UNTIL_ANNOTATION,
    releaseTimeoutMs: () => budget.stepMs(RELEASE_SHARE),
    metrics: metrics.operator.leader(settings.leaderElectionId),
  });

  let scheduler: Scheduler | undefined;
  const deps: LeaderDeps = {
    settings,
    client,
    cache,
    clock,
    log,
    metrics,
    tracing,
    version,
    identity,
    lease: `${namespace}/${settings.leaderElectionId}`,
    leadsForMs: () => (settings.leaderElect ? elector.leadsForMs : Infinity),
    setScheduler: (current) => {
      scheduler = current;
    },
  };

  const http = await serve(
    settings,
    {
      '/metrics': ({ accept }) => {
        const { contentType, chunks } = metrics.expose(accept);
        return { status: 200, contentType, body: chunks };
      },
      '/healthz': healthHandler('healthz', [
        progressCheck('scheduler', {
          clock,
          lastProgressMs: () => scheduler?.lastProgressMs,
          maxAgeMs: MAX_SCHEDULER_IDLE_MS,
        }),
        eventLoopCheck({ delay: eventLoopDelay(), maxDelayMs: MAX_EVENT_LOOP_DELAY_MS }),
      ]),
      '/readyz': healthHandler('readyz', [readyCheck('cache', () => cache.hasSynced)]),
    },
    log,
  );
  log.info({ version, server, identity, ...(http !== undefined && { port: http.port }) }, 'started');
  async function run(): Promise<void> {
    const cacheAbort = new AbortController();
    const cacheRun = cache.run(cacheAbort.signal);
    try {
      // A replica that cannot read the probes must not hold the Lease.
      await cache.untilSynced(signal);
      if (settings.leaderElect)
        await elector.run((leaderSignal, term) => runAsLeader(deps, leaderSignal, term), signal);
      else await runAsLeader(deps, signal, { number: 0, note: undefined });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      using flushDeadline = clock.deadline(budget.stepMs(1));
      cacheAbort.abort();
      await Promise.all([cacheRun, tracing.shutdown(flushDeadline.signal)]);
      await Promise.all([client.close(), http?.close(flushDeadline.signal)]);
      log.info({}, 'stopped');
    }
  }
  if (!(await finishesInTime(run(), settings.shutdownTimeoutMs, { clock, signal })))
    log.warn({}, 'shutdown timed out with work unfinished');
  return EXIT.passed;
}

/** OpenTelemetry's SDK reads its settings only from the environment of the process. */
function setEnvDefaults(defaults: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(defaults))
    process.env[name] = process.env[name]?.trim() || value;
}

async function serve(
  { listenAddress }: ControllerSettings,
  handlers: Readonly<Record<string, HttpHandler>>,
  log: Logger,
): Promise<HttpServer | undefined> {
  if (listenAddress === undefined) return undefined;
  try {
    return await HttpServer.start({ ...listenAddress, handlers, log });
  } catch (error) {
    if (error instanceof ListenError) throw new InputError(`--listen-address: ${error.message}`);
    throw error;
  }
}

function eventLoopDelay(): ReturnType<typeof monitorEventLoopDelay> {
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
  delay.enable();
  return delay;
}

function resolveKubeConfig(
  { kubeconfig: path, context }: ControllerSettings,
  env: CommandContext['env'],
): KubeConfig {
  try {
    return loadKubeConfig({ path, context, env });
  } catch (error) {
    if (error instanceof KubeConfigError) throw new InputError(error.message);
    throw error;
  }
}
