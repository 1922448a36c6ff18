import { link, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { hasCode } from './has-code.ts';

const POLL_MS = 250;
const REFRESH_MS = 5_000;
/** A live holder refreshes its lock much more often. If the lock is older, another process now has the holder's PID. */
const STALE_MS = 60_000;

export interface LockOptions {
  /** Called with the holder's PID at each failed attempt to acquire the lock. If it throws, the wait stops. */
  readonly onBusy: (holder: number) => void;
  /** Stops the wait for the lock, not the work. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work` while holding the lock `file`, which excludes other processes on this machine. The lock of a dead process
 * is taken over. If two processes take it over at the same moment, both run `work`, which must tolerate this.
 */
export async function withLock<T>(file: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await acquireLock(file, options);
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

async function acquireLock(file: string, { onBusy, signal }: LockOptions): Promise<void> {
  const own = `${file}.${process.pid}.${crypto.randomUUID()}`;
  await writeFile(own, `${process.pid}\n`);
  try {
    while (!(await tryLink(own, file))) {
      const holder = await readHolder(file);
      if (holder === undefined) continue;
      if (holder.isAlive) {
        onBusy(holder.pid);
        await delay(POLL_MS, undefined, { signal });
      } else {
        await rm(file, { force: true });
      }
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Uses a link because a newly created lock file would be empty until the PID is written. */
async function tryLink(own: string, file: string): Promise<boolean> {
  try {
    await link(own, file);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/**
 * Returns undefined if the lock has just been released. The caller must not remove the file then, because the lock may
 * have a new holder.
 */
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
