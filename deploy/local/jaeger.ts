import { join } from 'node:path';

import { getBinary } from './binary.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

const CONFIGURATIONS = join(import.meta.dirname, 'jaeger');

export interface JaegerOptions extends StartOptions {
  /** Default: a free port. */
  readonly queryPort?: number | undefined;
  /** Default: a free port. */
  readonly otlpGrpcPort?: number | undefined;
}

export interface Jaeger extends RunningServer {
  /** Base URL of the web UI (`<queryUrl>/trace/<id>`) and the API (`<queryUrl>/api/traces/<id>`). */
  readonly queryUrl: string;
  readonly otlpGrpcUrl: string;
}

/** Starts Jaeger as the tracing backend, with in-memory storage. */
export async function startJaeger(options: JaegerOptions): Promise<Jaeger> {
  const { dir, signal, progress } = options;
  return startServer({
    name: 'Jaeger',
    binary: await getBinary('jaeger', { signal, progress }),
    logFile: join(dir, 'jaeger.log'),
    signal,
    async command(choosePort) {
      const query = await choosePort(options.queryPort);
      const otlpGrpc = await choosePort(options.otlpGrpcPort);
      const health = await choosePort();
      return {
        args: ['--config', join(CONFIGURATIONS, 'backend.yaml')],
        env: { QUERY_PORT: `${query}`, OTLP_GRPC_PORT: `${otlpGrpc}`, HEALTH_PORT: `${health}` },
        healthUrls: [`${localUrl(health)}/status`],
        addresses: { queryUrl: localUrl(query), otlpGrpcUrl: localUrl(otlpGrpc) },
      };
    },
  });
}

export interface CollectorOptions extends StartOptions {
  /** Destination of the spans: the backend's `otlpGrpcUrl`. */
  readonly backendUrl: string;
  /** Default: a free port. */
  readonly otlpGrpcPort?: number | undefined;
  /** Default: a free port. */
  readonly otlpHttpPort?: number | undefined;
}

export interface Collector extends RunningServer {
  readonly otlpGrpcUrl: string;
  readonly otlpHttpUrl: string;
}

/** Starts Jaeger as the OpenTelemetry Collector. It delays spans by up to 0.1 s to send them in batches. */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { dir, backendUrl, signal, progress } = options;
  return startServer({
    name: 'Collector',
    binary: await getBinary('jaeger', { signal, progress }),
    logFile: join(dir, 'collector.log'),
    signal,
    async command(choosePort) {
      const otlpGrpc = await choosePort(options.otlpGrpcPort);
      const otlpHttp = await choosePort(options.otlpHttpPort);
      const health = await choosePort();
      return {
        args: ['--config', join(CONFIGURATIONS, 'collector.yaml')],
        env: {
          BACKEND_OTLP: backendUrl,
          OTLP_GRPC_PORT: `${otlpGrpc}`,
          OTLP_HTTP_PORT: `${otlpHttp}`,
          HEALTH_PORT: `${health}`,
        },
        healthUrls: [`${localUrl(health)}/status`],
        addresses: { otlpGrpcUrl: localUrl(otlpGrpc), otlpHttpUrl: localUrl(otlpHttp) },
      };
    },
  });
}

function localUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}
