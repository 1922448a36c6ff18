import { hash } from 'node:crypto';
import { access, constants, mkdir, open, readFile, rm } from 'node:fs/promises';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

import { InputError } from '../context.ts';

const MAX_SLOTS = 100;

/** Name of this prober, see `RunRequest.owner`. Disposing of it releases the name. */
export interface Owner extends AsyncDisposable {
  readonly name: string;
}

/**
 * Acquires the first owner name of this user and machine that no running process uses for `subject`. Concurrent runs
 * therefore never share a bucket, and a run after a crash reuses the name and finds the leftover bucket.
 *
 * @param subject namespace, probe and target.
 * @param folder directory for the lock files. Default: one in the system's temporary directory.
 */
export async function acquireOwner(
  subject: readonly string[],
  folder: string = join(tmpdir(), `storage-probe-${userInfo().username}`),
): Promise<Owner> {
  const base = `${userInfo().username}@${hostname()}`;
  // The file system of a container may be read-only. A container has only one run at a time.
  if (!(await isWritable(folder))) return { name: base, [Symbol.asyncDispose]: async () => {} };
  const fingerprint = hash('sha256', subject.join('\n'), 'hex').slice(0, 16);
  for (let slot = 0; slot < MAX_SLOTS; slot += 1) {
    const file = join(folder, `${fingerprint}-${slot}.pid`);
    if (!(await lock(file))) continue;
    return {
      name: slot === 0 ? base : `${base}/${slot}`,
      [Symbol.asyncDispose]: () => rm(file, { force: true }),
    };
  }
  throw new InputError(
    `${subject.join(' ')}: ${MAX_SLOTS} runs are already in progress; their lock files are in ${folder}`,
  );
}

async function isWritable(folder: string): Promise<boolean> {
  return mkdir(folder, { recursive: true, mode: 0o700 })
    .then(() => access(folder, constants.W_OK))
    .then(
      () => true,
      () => false,
    );
}

async function lock(file: string): Promise<boolean> {
  if (await createLockFile(file)) return true;
  const holder = Number(await readFile(file, 'utf8').catch(() => ''));
  if (isRunning(holder)) return false;
  await rm(file, { force: true });
  return createLockFile(file);
}

async function createLockFile(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, 'wx', 0o600);
    await handle.writeFile(`${process.pid}`);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

function isRunning(pid: number): boolean {
  // The file is empty while its owner is still writing the PID.
  if (!Number.isInteger(pid) || pid <= 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
