import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { withLock } from './lock.ts';

let dir: string;
let file: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'storage-probe-lock-'));
  file = join(dir, 'lock');
});

afterEach(() => rm(dir, { recursive: true, force: true }));

function refuse(holder: number): never {
  throw new Error(`taken by ${holder}`);
}

it('holds the lock only while the work runs', async () => {
  const during = await withLock(file, { onBusy: refuse }, () => readFile(file, 'utf8'));
  expect(during).toBe(`${process.pid}\n`);
  expect(await readdir(dir)).toEqual([]);
});

it('releases the lock when the work fails', async () => {
  await expect(withLock(file, { onBusy: refuse }, () => Promise.reject(new Error('no')))).rejects.toThrow(
    'no',
  );
  expect(await readdir(dir)).toEqual([]);
});

it('makes a second caller wait for the first', async () => {
  const order: string[] = [];
  const taken = Promise.withResolvers<number>();
  const second = await withLock(file, { onBusy: refuse }, async () => {
    const waiting = withLock(file, { onBusy: taken.resolve }, async () => {
      order.push('second');
    });
    expect(await taken.promise).toBe(process.pid);
    order.push('first');
    return { waiting };
  });
  await second.waiting;
  expect(order).toEqual(['first', 'second']);
});

it('never runs the work of two callers at the same time', async () => {
  let working = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    most = Math.max(most, ++working);
    await readdir(dir);
    working--;
  };
  await Promise.all(Array.from({ length: 8 }, () => withLock(file, { onBusy: () => undefined }, work)));
  expect(most).toBe(1);
});

it('takes over the lock of a dead process', async () => {
  const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(dead, 'exit');
  await writeFile(file, `${dead.pid}\n`);
  expect(await withLock(file, { onBusy: refuse }, () => Promise.resolve('done'))).toBe('done');
});

it("takes over a stale lock even if a process with the holder's PID is alive", async () => {
  await writeFile(file, `${process.pid}\n`);
  const longAgo = new Date(Date.now() - 3_600_000);
  await utimes(file, longAgo, longAgo);
  expect(await withLock(file, { onBusy: refuse }, () => Promise.resolve('done'))).toBe('done');
});

it('stops waiting when the signal aborts, without touching the lock', async () => {
  await writeFile(file, `${process.pid}\n`);
  const stopping = new AbortController();
  const waiting = withLock(file, { onBusy: () => stopping.abort(), signal: stopping.signal }, () =>
    Promise.resolve(),
  );
  await expect(waiting).rejects.toThrow(/aborted/);
  expect(await readdir(dir)).toEqual(['lock']);
});
