import { join } from 'node:path';

import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

export interface ControllerOptions extends StartOptions {
  readonly kubeconfigFile: string;
  /** The Collector's OTLP endpoint. */
  readonly otlpGrpcUrl: string;
  /** Additional flags. */
  readonly flags?: readonly string[] | undefined;
}

export interface Controller extends RunningServer {
  /** Base URL of `/metrics`, `/healthz` and `/readyz`. */
  readonly url: string;
}

/** Starts the operator from source, and allows it to probe loopback addresses. */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const { dir, signal, kubeconfigFile, otlpGrpcUrl, flags = [] } = options;
  return startServer({
    name: 'storage-probe',
    binary: process.execPath,
    logFile: join(dir, 'controller.log'),
    signal,
    async command(choosePort) {
      const address = `127.0.0.1:${await choosePort()}`;
      const url = `http://${address}`;
      return {
        args: [
          MAIN,
          'controller',
          `--kubeconfig=${kubeconfigFile}`,
          '--leader-election-namespace=storage-probe',
          '--allow-addresses=127.0.0.0/8,::1',
          `--listen-address=${address}`,
          ...flags,
        ],
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: otlpGrpcUrl },
        healthUrls: [`${url}/readyz`],
        addresses: { url },
      };
    },
  });
}
