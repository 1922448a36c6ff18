import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Child, spawnChild } from '../../../deploy/local/child.ts';
import type { Stack } from './stack.ts';

export interface Run {
  /** `namespace/name` */
  readonly probe: string;
  /** Wall ms, as precise as the log: 1 ms. */
  readonly startMs: number;
  readonly verdict: string;
  readonly reason: string;
}

export interface Usage {
  readonly rssBytes: number;
  /** Since the start of the process. */
  readonly peakRssBytes: number;
  /** User and system, of all threads, since the start of the process. */
  readonly cpuMs: number;
}

export interface OperatorOptions {
  readonly nodeArgs?: readonly string[];
  /** Default: the bundle. Node gets the flags of its first line. */
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
/** Source: proc(5), Linux's USER_HZ on all platforms of Node. */
const TICKS_PER_SECOND = 100;

/** `storage-probe controller` as the image runs it, and what it tells. */
export class OperatorProcess implements AsyncDisposable {
  /** Those that have ended, in the order of their end. */
  readonly runs: Run[] = [];
  /** Lines above `info`, runs apart. */
  readonly complaints: string[] = [];
  readonly #child: Child;
  readonly #url = Promise.withResolvers<string>();

  private constructor(child: Child) {
    this.#child = child;
    if (child.process.stderr === null) throw new Error('its stderr is a pipe');
    createInterface(child.process.stderr).on('line', (line) => {
      this.#take(line);
    });
    void child.exited.then(() => {
      this.#url.reject(new Error(`the operator ended: ${this.complaints.join('\n')}`));
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
    const args = [...(await nodeArgsOf(main)), ...nodeArgs, main, 'controller', ...flags];
    const child = await spawnChild(process.execPath, args, {
      // Not the caller's own: its proxies, OTEL_* and NODE_OPTIONS would change what is measured.
      env: { PATH: process.env['PATH'], OTEL_EXPORTER_OTLP_ENDPOINT: stack.collectorUrl },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return new OperatorProcess(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when `/readyz` says so. */
  async untilReady(): Promise<void> {
    const url = await this.#url.promise;
    await until('the operator to be ready', START_TIMEOUT_MS, async () => (await fetch(`${url}/readyz`)).ok);
  }

  /** Scrapes as Prometheus does. */
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
    // The name of the program, in brackets, may hold blanks. Then: state (field 3) … utime (14), stime (15).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return {
      rssBytes: kibIn(status, 'VmRSS') * 1_024,
      peakRssBytes: kibIn(status, 'VmHWM') * 1_024,
      cpuMs: (ticks / TICKS_PER_SECOND) * 1_000,
    };
  }

  /** Asks it to end, and resolves when it has. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #take(text: string): void {
    if (!text.startsWith('{')) {
      this.complaints.push(text);
      return;
    }
    const line = JSON.parse(text) as LogLine;
    const { level, msg, port, probe, durationMs, verdict, reason = '' } = line;
    if (msg === 'started') this.#url.resolve(`http://127.0.0.1:${port}`);
    if (verdict !== undefined && durationMs !== undefined && probe !== undefined) {
      this.runs.push({ probe, startMs: Date.parse(line.time) - durationMs, verdict, reason });
    } else if (level !== 'info') {
      this.complaints.push(text);
    }
  }
}

/** What the program's first line asks of Node. */
async function nodeArgsOf(main: string): Promise<string[]> {
  const [first = ''] = (await readFile(main, 'utf8')).split('\n', 1);
  return /^#!\S+ -S node (.+)$/.exec(first)?.[1]?.split(' ') ?? [];
}

/** What was scraped. */
export class Metrics {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n').filter((line) => !line.startsWith('#'));
  }

  /** Over all series of this name whose labels hold all of `parts`. */
  sum(name: string, ...parts: readonly string[]): number {
    return this.#lines
      .filter((line) => /^[^{ ]+/.exec(line)?.[0] === name && parts.every((part) => line.includes(part)))
      .reduce((sum, line) => sum + Number(/^(?:[^{ ]+)(?:\{.*?\})? (\S+)/.exec(line)?.[1]), 0);
  }

  /** How many series hold `part`. */
  count(part: string): number {
    return this.#lines.filter((line) => line.includes(part)).length;
  }
}

/** @throws Error that says what was waited for. */
export async function until(
  what: string,
  timeoutMs: number,
  ask: () => boolean | Promise<boolean>,
  pollMs = POLL_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await ask())) {
    if (performance.now() > endMs) throw new Error(`waited ${timeoutMs / 1_000} s in vain for ${what}`);
    await sleep(pollMs);
  }
}

function kibIn(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
}
