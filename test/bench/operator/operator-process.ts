import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Child, spawnChild } from '../../../deploy/local/child.ts';
import type { Stack } from './stack.ts';

export interface Run {
  /** `namespace/name` */
  readonly probe: string;
  /** Wall time in ms, with the log's precision of 1 ms. */
  readonly startMs: number;
  readonly verdict: string;
  readonly reason: string;
}

export interface Usage {
  readonly rssBytes: number;
  /** Peak since the process started. */
  readonly peakRssBytes: number;
  /** User and system time of all threads since the process started. */
  readonly cpuMs: number;
}

export interface OperatorOptions {
  readonly nodeArgs?: readonly string[];
  /** Program to run. Default: the bundle. Node options are read from its shebang line. */
  readonly main?: string;
}

interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly msg: string;
  readonly port?: number;
  readonly probe?: string;
  readonly durationMs?: number;
  readonly verdict?: string;
  readonly reason?: string;
}

export const SOURCE = new URL('../../../src/main.ts', import.meta.url).pathname;
export const BUNDLE = new URL('../../../dist/main.mjs', import.meta.url).pathname;
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 5;
/** Linux's USER_HZ on all platforms that Node supports. Source: proc(5). */
const TICKS_PER_SECOND = 100;

/** A `storage-probe controller` process, started as in the image, with its log and metrics. */
export class OperatorProcess implements AsyncDisposable {
  /** Finished runs, in the order in which they finished. */
  readonly runs: Run[] = [];
  /** Log lines above `info` that do not report a run. */
  readonly problemLines: string[] = [];
  readonly #child: Child;
  readonly #url = Promise.withResolvers<string>();

  private constructor(child: Child) {
    this.#child = child;
    if (child.process.stderr === null) throw new Error('stderr of the operator must be a pipe');
    createInterface(child.process.stderr).on('line', (line) => {
      this.#handleLine(line);
    });
    void child.exited.then(() => {
      this.#url.reject(new Error(`the operator exited: ${this.problemLines.join('\n')}`));
    });
    this.#url.promise.catch(() => undefined);
  }

  static async start(
    stack: Stack,
    { nodeArgs = [], main = BUNDLE }: OperatorOptions = {},
  ): Promise<OperatorProcess> {
    const flags = [
      `--kubeconfig=${stack.operatorKubeconfigFile}`,
      '--leader-election-namespace=storage-probe',
      '--allow-addresses=127.0.0.0/8',
      '--listen-address=127.0.0.1:0',
    ];
    const args = [...(await shebangOptions(main)), ...nodeArgs, main, 'controller', ...flags];
    const child = await spawnChild(process.execPath, args, {
      // Does not inherit the caller's environment, whose proxies, OTEL_* and NODE_OPTIONS would distort the results.
      env: { PATH: process.env['PATH'], OTEL_EXPORTER_OTLP_ENDPOINT: stack.collectorUrl },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return new OperatorProcess(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when `/readyz` reports ready. */
  async untilReady(): Promise<void> {
    const url = await this.#url.promise;
    await until('the operator to be ready', START_TIMEOUT_MS, async () => (await fetch(`${url}/readyz`)).ok);
  }

  /** Scrapes `/metrics` in OpenMetrics format, as Prometheus does. */
  async metrics(): Promise<Metrics> {
    const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5';
    const response = await fetch(`${await this.#url.promise}/metrics`, { headers: { accept } });
    return new Metrics(await response.text());
  }

  async usage(): Promise<Usage> {
    const [status, stat] = await Promise.all([
      readFile(`/proc/${this.pid}/status`, 'utf8'),
      readFile(`/proc/${this.pid}/stat`, 'utf8'),
    ]);
    // The program name, in parentheses, may contain spaces. After it: state (field 3) … utime (14), stime (15).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return {
      rssBytes: kibIn(status, 'VmRSS') * 1_024,
      peakRssBytes: kibIn(status, 'VmHWM') * 1_024,
      cpuMs: (ticks / TICKS_PER_SECOND) * 1_000,
    };
  }

  /** Sends SIGTERM and resolves when the process has exited. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #handleLine(text: string): void {
    if (!text.startsWith('{')) {
      this.problemLines.push(text);
      return;
    }
    const line = JSON.parse(text) as LogLine;
    const { level, msg, port, probe, durationMs, verdict, reason = '' } = line;
    if (msg === 'started') this.#url.resolve(`http://127.0.0.1:${port}`);
    if (verdict !== undefined && durationMs !== undefined && probe !== undefined) {
      this.runs.push({ probe, startMs: Date.parse(line.time) - durationMs, verdict, reason });
    } else if (level !== 'info') {
      this.problemLines.push(text);
    }
  }
}

/** Node options from the program's shebang line. */
async function shebangOptions(main: string): Promise<string[]> {
  const [first = ''] = (await readFile(main, 'utf8')).split('\n', 1);
  return /^#!\S+ -S node (.+)$/.exec(first)?.[1]?.split(' ') ?? [];
}

/** The result of one scrape. */
export class Metrics {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n').filter((line) => !line.startsWith('#'));
  }

  /** Sum of all series with this name whose lines contain all `parts`. */
  sum(name: string, ...parts: readonly string[]): number {
    return this.#lines
      .filter((line) => /^[^{ ]+/.exec(line)?.[0] === name && parts.every((part) => line.includes(part)))
      .reduce((sum, line) => sum + Number(/^(?:[^{ ]+)(?:\{.*?\})? (\S+)/.exec(line)?.[1]), 0);
  }

  /** Number of series whose lines contain `part`. */
  count(part: string): number {
    return this.#lines.filter((line) => line.includes(part)).length;
  }
}

/** @throws Error that names `what` if `check` is not true within `timeoutMs`. */
export async function until(
  what: string,
  timeoutMs: number,
  check: () => boolean | Promise<boolean>,
  pollMs = POLL_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > endMs)
      throw new Error(`timed out after ${timeoutMs / 1_000} s waiting for ${what}`);
    await sleep(pollMs);
  }
}

function kibIn(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
}
