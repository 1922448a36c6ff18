import { once } from 'node:events';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { createServer, type Server as NetServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { spawnChild, type Child, type Exit } from './child.ts';
import type { Progress } from './progress.ts';

/** A running server. The caller must stop it. It is also killed when this process exits. */
export interface RunningServer extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Log of stdout and stderr. A restart with the same folder appends to it. */
  readonly logFile: string;
  /** Resolves when the server exits for any reason. Never rejects. */
  readonly exited: Promise<Exit>;
  /** Sends SIGTERM, and SIGKILL after 5 s. Resolves when the server has exited. May be called repeatedly. */
  stop(): Promise<void>;
  /** Sends a signal without waiting: `SIGKILL` for a crash (then await `exited`), `SIGSTOP` for a hang. */
  kill(signal: NodeJS.Signals): void;
}

/** Returns the wanted port, or a free port on 127.0.0.1 that it has not returned before. */
export type PortChooser = (wanted?: number) => Promise<number>;

/** Options common to all servers. */
export interface StartOptions {
  /** Folder for the log and the server's data. Created if missing. */
  readonly dir: string;
  /** Cancels the start, including a build. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

export interface ServerSpec<Addresses> {
  readonly name: string;
  readonly binary: string;
  readonly logFile: string;
  /** Returns the command to run. Called again if another process takes a chosen port first. */
  readonly command: (port: PortChooser) => Promise<Command<Addresses>>;
  /** Cancels the start. It has no effect once the server is running. */
  readonly signal?: AbortSignal | undefined;
}

export interface Command<Addresses> {
  readonly args: readonly string[];
  /** The environment. Only PATH, HOME and TMPDIR are inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** URLs that return 200 when the server is ready. */
  readonly healthUrls: readonly string[];
  /** Addresses of the server. They become properties of the running server. */
  readonly addresses: Addresses;
}

const START_DEADLINE_MS = 60_000;
const POLL_MS = 100;
const POLL_TIMEOUT_MS = 2_000;
const ATTEMPTS = 3;
const TAIL_LINES = 12;
/** Go's own message, and that of MinIO's console. */
const PORT_TAKEN = /address already in use|port is already in use/;

/**
 * Starts a server and waits until it is healthy.
 *
 * @throws Error with the path and end of the log if the server exits first or is not healthy within 60 s.
 * @throws the signal's reason if the signal aborts.
 */
export async function startServer<Addresses>(
  spec: ServerSpec<Addresses>,
): Promise<RunningServer & Addresses> {
  await mkdir(dirname(spec.logFile), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const command = await withPorts(spec.command);
    const logStart = await sizeOf(spec.logFile);
    try {
      return { ...(await startOnce(spec, command)), ...command.addresses };
    } catch (error) {
      spec.signal?.throwIfAborted();
      const log = (await readFile(spec.logFile)).subarray(logStart).toString();
      // Another process may take the chosen port before the server binds to it.
      if (attempt < ATTEMPTS && PORT_TAKEN.test(log)) continue;
      const tail = log.trimEnd().split('\n').slice(-TAIL_LINES);
      const message = error instanceof Error ? error.message : String(error);
      throw new Error([`${message} The log is ${spec.logFile} and ends with:`, ...tail].join('\n  '), {
        cause: error,
      });
    }
  }
}

async function startOnce(
  { name, binary, logFile, signal }: ServerSpec<unknown>,
  { args, env, healthUrls }: Command<unknown>,
): Promise<RunningServer> {
  signal?.throwIfAborted();
  const child = await spawnWithLog(logFile, binary, args, env);
  const ready = new AbortController();
  const deadline = AbortSignal.timeout(START_DEADLINE_MS);
  const waiting = AbortSignal.any([ready.signal, deadline, ...(signal === undefined ? [] : [signal])]);
  try {
    await Promise.race([
      waitUntilHealthy(healthUrls, waiting),
      child.exited.then((exit) => {
        throw new Error(`${name} exited before it was ready (${exit.signal ?? `exit code ${exit.code}`}).`);
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

async function spawnWithLog(
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

async function waitUntilHealthy(urls: readonly string[], signal: AbortSignal): Promise<void> {
  for (const url of urls) {
    while (!(await isHealthy(url, signal))) await delay(POLL_MS, undefined, { signal });
  }
}

function isHealthy(url: string, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const { get } = url.startsWith('https:') ? https : http;
  const attempt = AbortSignal.any([signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]);
  // The certificate is not checked, because a test may have given the server an expired one.
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
      if (address === null || typeof address === 'string') throw new Error('The TCP server has no port.');
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
