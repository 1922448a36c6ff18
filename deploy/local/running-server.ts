import { once } from 'node:events';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { createServer, type Server as NetServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { spawnChild, type Child, type Exit } from './child.ts';
import type { Progress } from './progress.ts';

/** A server that answers. Whoever started it stops it; should this process end before, the server ends with it. */
export interface RunningServer extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Its stdout and stderr; a restart with the same folder appends. */
  readonly logFile: string;
  /** Resolves when it is gone, for whatever cause; never rejects. */
  readonly exited: Promise<Exit>;
  /** Asks it to end, ends it after 5 s, and resolves when it is gone; may be called again. */
  stop(): Promise<void>;
  /** Sends a signal and does not wait: `SIGKILL` for a crash (then await `exited`), `SIGSTOP` for a hang. */
  kill(signal: NodeJS.Signals): void;
}

/** Gives the wanted port, or else one of 127.0.0.1 that is free and that it gave to nobody else. */
export type PortChooser = (wanted?: number) => Promise<number>;

/** What every server of ours is started with. */
export interface StartOptions {
  /** Holds the log and all that the server keeps; made if missing. */
  readonly dir: string;
  /** Gives up the start, and a build before it. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

export interface ServerStart<Addresses> {
  readonly name: string;
  readonly binary: string;
  readonly logFile: string;
  /** What to run. Called once more when another process took a free port meanwhile. */
  readonly command: (port: PortChooser) => Promise<Command<Addresses>>;
  /** Gives up the start; a server that has started no longer heeds it. */
  readonly signal?: AbortSignal | undefined;
}

export interface Command<Addresses> {
  readonly args: readonly string[];
  /** The whole environment but for PATH, HOME and TMPDIR. */
  readonly env: Readonly<Record<string, string>>;
  /** URLs that answer 200 as soon as the server is ready. */
  readonly healthUrls: readonly string[];
  /** Where it will be found; becomes part of the running server. */
  readonly addresses: Addresses;
}

const START_DEADLINE_MS = 60_000;
const POLL_MS = 100;
const POLL_TIMEOUT_MS = 2_000;
const ATTEMPTS = 3;
const TAIL_LINES = 12;

/**
 * Starts a server and waits until it is healthy.
 *
 * @throws Error with the log's path and end when the server exits before, or is not healthy within 60 s; the signal's
 *   reason when that aborts.
 */
export async function startServer<Addresses>(
  start: ServerStart<Addresses>,
): Promise<RunningServer & Addresses> {
  await mkdir(dirname(start.logFile), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const command = await withPorts(start.command);
    const logStart = await sizeOf(start.logFile);
    try {
      return { ...(await startOnce(start, command)), ...command.addresses };
    } catch (error) {
      start.signal?.throwIfAborted();
      const log = (await readFile(start.logFile)).subarray(logStart).toString();
      // Between choosing a free port and the server's own bind another process may take it.
      if (attempt < ATTEMPTS && log.includes('address already in use')) continue;
      const tail = log.trimEnd().split('\n').slice(-TAIL_LINES);
      const message = error instanceof Error ? error.message : String(error);
      throw new Error([`${message} The log is ${start.logFile} and ends so:`, ...tail].join('\n  '), {
        cause: error,
      });
    }
  }
}

async function startOnce(
  { name, binary, logFile, signal }: ServerStart<unknown>,
  { args, env, healthUrls }: Command<unknown>,
): Promise<RunningServer> {
  signal?.throwIfAborted();
  const child = await spawnInto(logFile, binary, args, env);
  const ready = new AbortController();
  const deadline = AbortSignal.timeout(START_DEADLINE_MS);
  const waiting = AbortSignal.any([ready.signal, deadline, ...(signal === undefined ? [] : [signal])]);
  try {
    await Promise.race([
      untilHealthy(healthUrls, waiting),
      child.exited.then((exit) => {
        throw new Error(`${name} ended before it was ready (${exit.signal ?? `exit code ${exit.code}`}).`);
      }),
    ]);
  } catch (error) {
    await child.stop();
    if (deadline.aborted)
      throw new Error(`${name} was not ready within ${START_DEADLINE_MS / 1_000} s.`, { cause: error });
    throw error;
  } finally {
    ready.abort();
  }
  const stop = (): Promise<void> => child.stop();
  return {
    name,
    pid: child.pid,
    logFile,
    exited: child.exited,
    stop,
    kill: (which) => child.kill(which),
    [Symbol.asyncDispose]: stop,
  };
}

async function spawnInto(
  logFile: string,
  binary: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Child> {
  const inherited = Object.fromEntries(
    ['PATH', 'HOME', 'TMPDIR'].flatMap((key) =>
      process.env[key] === undefined ? [] : [[key, process.env[key]]],
    ),
  );
  await using log = await open(logFile, 'a');
  return await spawnChild(binary, args, { env: { ...inherited, ...env }, stdio: ['ignore', log.fd, log.fd] });
}

async function untilHealthy(urls: readonly string[], signal: AbortSignal): Promise<void> {
  for (const url of urls) {
    while (!(await isHealthy(url, signal))) await delay(POLL_MS, undefined, { signal });
  }
}

function isHealthy(url: string, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const { get } = url.startsWith('https:') ? https : http;
  const attempt = AbortSignal.any([signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]);
  // The question is whether it answers: a test may well have given it a certificate that has expired.
  get(url, { signal: attempt, agent: false, rejectUnauthorized: false }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  }).on('error', () => resolve(false));
  return promise;
}

async function withPorts<T>(use: (port: PortChooser) => Promise<T>): Promise<T> {
  const held: NetServer[] = [];
  try {
    return await use(async (wanted) => {
      if (wanted !== undefined) return wanted;
      const server = createServer().listen(0, '127.0.0.1');
      held.push(server);
      await once(server, 'listening');
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('A TCP server without a port.');
      return address.port;
    });
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch {
    return 0;
  }
}
