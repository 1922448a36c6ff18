import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';

import { hasCode } from './has-code.ts';

const FATAL_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const STOP_GRACE_MS = 5_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Resolves when the process is gone and its pipes are read; never rejects. */
  readonly exited: Promise<Exit>;
  /** Sends a signal to the process and to all that it started, and does not wait. */
  kill(signal: NodeJS.Signals): void;
  /** Asks it to end, ends it after 5 s, and resolves when it is gone. */
  stop(): Promise<void>;
}

/**
 * Starts a child that does not outlive this process. It gets a process group of its own, so that Ctrl-C reaches only
 * this process, which then stops its children in an order of its choice.
 *
 * @throws what `spawn` says, for example `ENOENT` when there is no such program.
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
    // A process that stands still by SIGSTOP would not see the signal before its grace is over.
    kill('SIGCONT');
    const timer = setTimeout(() => kill('SIGKILL'), STOP_GRACE_MS);
    await exited;
    clearTimeout(timer);
  }

  return { process: spawned, pid, exited, kill, stop };
}

/**
 * Waits until a child has ended by itself, and stops it when `signal` aborts.
 *
 * @throws the signal's reason, once the child is gone.
 */
export async function untilEnded(child: Child, signal: AbortSignal | undefined): Promise<Exit> {
  const stop = (): void => void child.stop();
  if (signal?.aborted === true) stop();
  signal?.addEventListener('abort', stop);
  const exit = await child.exited;
  signal?.removeEventListener('abort', stop);
  signal?.throwIfAborted();
  return exit;
}

/** Aborts when this process is asked to end, which from then on is the caller's task. Asked again, it ends at once. */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of FATAL_SIGNALS) process.once(signal, () => stopping.abort());
  return stopping.signal;
}

/** The groups of living children: as the listeners below, a thing of this process and not of a caller. */
const groups = new Set<number>();

function addGroup(pid: number): void {
  if (groups.size === 0) {
    process.on('exit', killAll);
    // First, to see even an owner's listener that is there for once.
    for (const signal of FATAL_SIGNALS) process.prependListener(signal, onFatalSignal);
  }
  groups.add(pid);
}

function removeGroup(pid: number): void {
  groups.delete(pid);
  if (groups.size > 0) return;
  process.off('exit', killAll);
  for (const signal of FATAL_SIGNALS) process.off(signal, onFatalSignal);
}

function killAll(): void {
  for (const pid of groups) killGroup(pid, 'SIGKILL');
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // It ended, and Node has not told so yet.
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/** By default a signal ends Node with no `exit` event. An owner that listens itself also stops its children itself. */
function onFatalSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
}
