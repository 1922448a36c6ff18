import { link, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { hasCode } from './has-code.ts';

const POLL_MS = 250;
const REFRESH_MS = 5_000;
/** A holder refreshes its lock much more often, so an older one is of a process whose id now belongs to another. */
const STALE_MS = 60_000;

export interface LockOptions {
  /** Called with the holder's process id each time that the lock is found taken; what it throws ends the wait. */
  readonly onTaken: (holder: number) => void;
  /** Ends the wait for the lock, not the work. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Does `work` while no other process on this machine holds `file`. The lock of a dead process is taken over; should two
 * take it over in the same instant both work, so the work must bear that.
 */
export async function withLock<T>(file: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await takeLock(file, options);
  const refresh = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => undefined);
  }, REFRESH_MS);
  try {
    return await work();
  } finally {
    clearInterval(refresh);
    await rm(file, { force: true });
  }
}

async function takeLock(file: string, { onTaken, signal }: LockOptions): Promise<void> {
  const own = `${file}.${process.pid}.${crypto.randomUUID()}`;
  await writeFile(own, `${process.pid}\n`);
  try {
    while (!(await tryLink(own, file))) {
      const holder = await readHolder(file);
      if (holder === undefined) continue;
      if (holder.isAlive) {
        onTaken(holder.pid);
        await delay(POLL_MS, undefined, { signal });
      } else {
        await rm(file, { force: true });
      }
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Links rather than creates, so that a lock is never seen without its holder's id in it. */
async function tryLink(own: string, file: string): Promise<boolean> {
  try {
    await link(own, file);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Undefined when the lock has been given back meanwhile: then there may be a new one, which is not ours to remove. */
async function readHolder(file: string): Promise<{ pid: number; isAlive: boolean } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
    const pid = Number.parseInt(text, 10);
    return { pid, isAlive: pid > 0 && Date.now() - mtimeMs < STALE_MS && isAlive(pid) };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}
