import { inject } from 'vitest';

import { spawnChild, type Exit } from '../../deploy/local/child.ts';
import { samplesIn } from '../support/exposition.ts';
import { PollAborted, until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';

const { collectorGrpcUrl, kube } = inject('servers');
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

export interface OperatorOptions {
  /** Namespaces to watch; used by this test only. */
  readonly namespaces: readonly string[];
  /** Name of the Lease. Operators with the same name are replicas. Default: a unique name. */
  readonly leaderElectionId?: string;
  /** Further flags; they override the defaults. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default: the kubeconfig of the user with only the operator's rights. */
  readonly kubeconfigFile?: string;
  /** If true, `startOperator` resolves once /readyz returns 200, otherwise once the operator listens. Default: true. */
  readonly waitForReady?: boolean;
}

/** A line of the operator's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface RunningOperator extends AsyncDisposable {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`, without a trailing slash. */
  readonly url: string;
  readonly metricsUrl: string;
  /** All log lines so far. @throws Error if a line is not JSON. */
  logs(): LogLine[];
  /** Unparsed stdout and stderr so far. */
  output(): string;
  /** Requests a path such as `/metrics`, `/healthz` or `/readyz`. */
  get(path: string, accept?: string): Promise<{ readonly status: number; readonly body: string }>;
  /** Metric samples whose name and labels contain all of `parts`: values by name and labels. */
  samples(...parts: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Sends SIGTERM and resolves once the operator has exited. */
  stop(): Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves once the operator has exited for any reason. Never rejects. */
  readonly exited: Promise<Exit>;
}

const START_MS = 20_000;
const STOP_MS = 30_000;
const REQUEST_MS = 5_000;

/** Starts `storage-probe controller` as a user would. Default: against the shared control plane. */
export async function startOperator(options: OperatorOptions): Promise<RunningOperator> {
  const { namespaces, flags = [], env, waitForReady = true } = options;
  const { kubeconfigFile = kube.operatorKubeconfigFile, leaderElectionId = uniqueName('operator') } = options;
  const args = [
    `--kubeconfig=${kubeconfigFile}`,
    `--watch-namespaces=${namespaces.join(',')}`,
    `--leader-election-id=${leaderElectionId}`,
    '--leader-election-namespace=storage-probe',
    '--allow-addresses=127.0.0.0/8,::1',
    '--listen-address=127.0.0.1:0',
    ...flags,
  ];
  const child = await spawnChild(process.execPath, [MAIN, 'controller', ...args], {
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.process.stdout?.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.process.stderr?.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  let hasExited = false;
  void child.exited.then(() => (hasExited = true));

  // Skips the last line, which may be incomplete.
  const logs = (): LogLine[] =>
    output.stderr
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);

  async function stop(): Promise<Exit> {
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    const exit = await child.exited;
    clearTimeout(timer);
    return exit;
  }

  try {
    const port = await until('the operator to listen', START_MS, () => {
      if (hasExited) throw new PollAborted(`the operator exited: ${output.stderr}`);
      return logs().find(({ msg }) => msg === 'started')?.['port'];
    });
    const url = `http://127.0.0.1:${String(port)}`;
    const get: RunningOperator['get'] = async (path, accept = '*/*') => {
      const response = await fetch(`${url}${path}`, {
        headers: { accept },
        signal: AbortSignal.timeout(REQUEST_MS),
      });
      return { status: response.status, body: await response.text() };
    };
    if (waitForReady) {
      await until('the operator to be ready', START_MS, async () => (await get('/readyz')).status === 200);
    }
    return {
      pid: child.pid,
      url,
      metricsUrl: `${url}/metrics`,
      logs,
      output: () => `${output.stdout}${output.stderr}`,
      get,
      samples: async (...parts) => samplesIn((await get('/metrics')).body, parts),
      stop,
      kill: (signal) => {
        child.kill(signal);
      },
      exited: child.exited,
      async [Symbol.asyncDispose]() {
        await stop();
      },
    };
  } catch (error) {
    child.kill('SIGKILL');
    await child.exited;
    throw error;
  }
}
