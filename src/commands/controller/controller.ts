import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import type { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';

import { ProbeCache } from '../../controller/probe-cache.ts';
import { doneCheck, eventLoopCheck, healthHandler, progressCheck } from '../../http/health.ts';
import { type HttpHandler, HttpServer, ListenError } from '../../http/server.ts';
import { HttpKubeClient } from '../../kube/http-kube-client.ts';
import { KubeConfigError, loadKubeConfig } from '../../kube/kube-config.ts';
import { LeaderElector } from '../../kube/leader-elector.ts';
import type { Scheduler } from '../../scheduler/scheduler.ts';
import { createLogger } from '../../telemetry/logs.ts';
import { ProberMetrics } from '../../telemetry/metrics.ts';
import { otelSettings } from '../../telemetry/otel-env.ts';
import { RetryingExporter } from '../../telemetry/retrying-exporter.ts';
import { Tracing } from '../../telemetry/tracing.ts';
import { type CommandContext, EXIT, type ExitCode, InputError } from '../context.ts';
import { spanExporter } from '../span-exporter.ts';
import type { ControllerSettings } from './flags.ts';
import { lead, type LeadParts } from './lead.ts';
import { endsInTime, timeLeft } from './time-left.ts';

/** Spans of an operator do not wait for as long as OpenTelemetry's defaults say, and come in greater numbers. */
const BATCH_DEFAULTS = { OTEL_BSP_SCHEDULE_DELAY: '500', OTEL_BSP_MAX_QUEUE_SIZE: '8192' };
/** Of the Lease: where the next leader goes on. */
const STARTED_UNTIL_ANNOTATION = 'storageprobe.dev/started-until';
/** The scheduler looks for what is due every few seconds, even when nothing is. */
const MAX_SCHEDULER_SILENCE_MS = 30_000;
const MAX_EVENT_LOOP_DELAY_MS = 10_000;
const EVENT_LOOP_RESOLUTION_MS = 50;
const OVERTIME_MS = 1_000;

/**
 * Runs the StorageProbes of a cluster until the process is asked to end.
 *
 * @throws {InputError} before anything is run.
 */
export async function controller(settings: ControllerSettings, context: CommandContext): Promise<ExitCode> {
  const { clock, signal, stderr, stdout, version } = context;
  const leftMs = timeLeft(clock, settings.shutdownTimeoutMs, signal);
  const env = { ...BATCH_DEFAULTS, ...context.env };
  const log = createLogger(settings.logLevel, stderr);
  const otel = otelSettings(env);
  for (const warning of otel.warnings) log.warn({ warning }, 'telemetry setting ignored');
  const onTurn = (error?: string): void => {
    if (error === undefined) log.info({}, 'spans are delivered again');
    else log.warn({ error }, 'spans are not delivered');
  };
  const exporter = await spanExporter({ settings: otel, console: stdout, onTurn }, context);
  const metrics = new ProberMetrics({
    clock,
    version,
    nodeVersion: process.version,
    ...(exporter instanceof RetryingExporter && { spanCounts: () => exporter.counts }),
  });
  const tracing = new Tracing({ settings: otel, version, ...(exporter !== undefined && { exporter }) });

  const config = findCluster(settings, env);
  const server = config.getCurrentCluster()?.server ?? '';
  const client = new HttpKubeClient({
    config,
    clock,
    userAgent: `storage-probe/${version} (${process.platform}/${process.arch})`,
    metrics: metrics.machinery.kubeClient(URL.parse(server)?.host ?? server),
  });
  const cache = new ProbeCache({
    client,
    clock,
    random: Math.random,
    log,
    namespaces: settings.watchNamespaces,
    metrics: metrics.machinery.reflector('StorageProbe'),
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
    // Blind to changes, but probing: that is when the probes are needed most.
    keepsLeadWhileUnreachable: true,
    noteAnnotation: STARTED_UNTIL_ANNOTATION,
    metrics: metrics.machinery.leader(settings.leaderElectionId),
  });

  let scheduler: Scheduler | undefined;
  const parts: LeadParts = {
    settings,
    client,
    cache,
    clock,
    log,
    metrics,
    tracing,
    version,
    identity,
    isLeader: () => !settings.leaderElect || elector.isLeader,
    onScheduler: (current) => {
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
          maxAgeMs: MAX_SCHEDULER_SILENCE_MS,
        }),
        eventLoopCheck({ delay: eventLoopDelay(), maxDelayMs: MAX_EVENT_LOOP_DELAY_MS }),
      ]),
      '/readyz': healthHandler('readyz', [doneCheck('cache', () => cache.hasSynced)]),
    },
    log,
  );
  log.info({ version, server, identity, ...(http !== undefined && { port: http.port }) }, 'started');
  async function run(): Promise<void> {
    const following = new AbortController();
    const followed = cache.run(following.signal);
    try {
      if (settings.leaderElect) await elector.run((leading, note) => lead(parts, leading, note), signal);
      else await lead(parts, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      using flushing = clock.deadline(leftMs());
      following.abort();
      await Promise.all([followed, tracing.shutdown(flushing.signal)]);
      await Promise.all([client.close(), http?.close(flushing.signal)]);
      log.info({}, 'stopped');
    }
  }
  // Each step of the end has a share of its time, and at least a moment when all of it is used up.
  const limitMs = settings.shutdownTimeoutMs + OVERTIME_MS;
  if (!(await endsInTime(run(), limitMs, { clock, signal })))
    log.warn({}, 'stopped before all was done: the time for the end is up');
  return EXIT.passed;
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

function findCluster(
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
