import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';

import { hasCode } from './has-code.ts';

const TERMINATION_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const STOP_GRACE_MS = 5_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Resolves when the process has exited and its output has been read. Never rejects. */
  readonly exited: Promise<Exit>;
  /** Sends a signal to the whole process group, without waiting. */
  kill(signal: NodeJS.Signals): void;
  /** Sends SIGTERM, and SIGKILL after 5 s. Resolves when the process has exited. */
  stop(): Promise<void>;
}

/**
 * Starts a child process that does not outlive this process. The child runs in a separate process group, so Ctrl-C
 * reaches only this process, which then decides in which order to stop its children.
 *
 * @throws the error of `spawn`, for example `ENOENT` if the program does not exist.
 */
export async function spawnChild(
  command: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<Child> {
  const spawned = spawn(command, args, { ...options, detached: true });
  const pid = spawned.pid;
  if (pid === undefined) {
    const [error] = await once(spawned, 'error');
    throw error;
  }
  const { promise: exited, resolve } = Promise.withResolvers<Exit>();
  addGroup(pid);
  spawned.once('close', (code, signal) => {
    removeGroup(pid);
    resolve({ code, signal });
  });

  function kill(signal: NodeJS.Signals): void {
    if (pid !== undefined && groups.has(pid)) killGroup(pid, signal);
  }

  async function stop(): Promise<void> {
    kill('SIGTERM');
    // A process suspended by SIGSTOP handles SIGTERM only after it is resumed.
    kill('SIGCONT');
    const timer = setTimeout(() => kill('SIGKILL'), STOP_GRACE_MS);
    await exited;
    clearTimeout(timer);
  }

  return { process: spawned, pid, exited, kill, stop };
}

/**
 * Waits until a child exits, and stops it if `signal` aborts.
 *
 * @throws the signal's reason, after the child has exited.
 */
export async function waitForExit(child: Child, signal: AbortSignal | undefined): Promise<Exit> {
  const stop = (): void => void child.stop();
  if (signal?.aborted === true) stop();
  signal?.addEventListener('abort', stop);
  const exit = await child.exited;
  signal?.removeEventListener('abort', stop);
  signal?.throwIfAborted();
  return exit;
}

/**
 * Aborts on the first SIGINT, SIGTERM or SIGHUP. The caller must then exit. If the same signal arrives again, the
 * process exits at once.
 */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of TERMINATION_SIGNALS) process.once(signal, () => stopping.abort());
  return stopping.signal;
}

/** Process groups of running children. Global because the listeners below are global to the process. */
const groups = new Set<number>();

function addGroup(pid: number): void {
  if (groups.size === 0) {
    process.on('exit', killAll);
    // Must run first, while the caller's one-time listener is still registered.
    for (const signal of TERMINATION_SIGNALS) process.prependListener(signal, onTerminationSignal);
  }
  groups.add(pid);
}

function removeGroup(pid: number): void {
  groups.delete(pid);
  if (groups.size > 0) return;
  process.off('exit', killAll);
  for (const signal of TERMINATION_SIGNALS) process.off(signal, onTerminationSignal);
}

function killAll(): void {
  for (const pid of groups) killGroup(pid, 'SIGKILL');
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The child has exited, but Node has not reported this yet.
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/**
 * Exits if the caller has no listener, because Node would otherwise stop without an `exit` event. A caller with a
 * listener must stop the children itself.
 */
function onTerminationSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
}
