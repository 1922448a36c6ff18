import { inject } from 'vitest';

import { spawnChild, type Exit } from '../../deploy/local/child.ts';
import { samplesIn } from '../support/exposition.ts';
import { GaveUp, until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';

const { collectorGrpcUrl, kube } = inject('servers');
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

export interface OperatorOptions {
  /** Whose probes it runs: those of the test alone. */
  readonly namespaces: readonly string[];
  /** Name of the Lease; several operators with the same one are replicas. Default: a name of its own. */
  readonly leaderElectionId?: string;
  /** Further flags; they count before the defaults. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default: that of the operator's least-privilege user. */
  readonly kubeconfigFile?: string;
  /** Default true: resolves once /readyz says 200. Otherwise as soon as it listens. */
  readonly untilReady?: boolean;
}

/** A line of the operator's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface RunningOperator extends AsyncDisposable {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string;
  readonly metricsUrl: string;
  /** All lines so far. @throws Error when one is not JSON. */
  logs(): LogLine[];
  /** All of stdout and stderr so far, as it came. */
  output(): string;
  /** What is served at `/metrics`, `/healthz`, `/readyz`. */
  get(path: string, accept?: string): Promise<{ readonly status: number; readonly body: string }>;
  /** The values of the samples whose name and labels hold all of `parts`, by name and labels. */
  samples(...parts: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Asks it to end (SIGTERM), and resolves when it has. */
  stop(): Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it is gone, for whatever cause; never rejects. */
  readonly exited: Promise<Exit>;
}

const START_MS = 20_000;
const STOP_MS = 30_000;
const REQUEST_MS = 5_000;

/** Starts `storage-probe controller` as a user would, against the control plane that all tests share. */
export async function startOperator(options: OperatorOptions): Promise<RunningOperator> {
  const { namespaces, flags = [], env, untilReady = true } = options;
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
  let isGone = false;
  void child.exited.then(() => (isGone = true));

  // The last line may not be complete yet.
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
      if (isGone) throw new GaveUp(`the operator ended: ${output.stderr}`);
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
    if (untilReady) {
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
