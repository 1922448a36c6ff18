import { hash } from 'node:crypto';
import { access, constants, mkdir, open, readFile, rm } from 'node:fs/promises';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

import { InputError } from '../context.ts';

const MAX_SLOTS = 100;

/** Who probes from here; see `RunRequest.owner`. */
export interface Owner extends AsyncDisposable {
  readonly name: string;
}

/**
 * Takes the first name of this user on this machine under which no other process probes `subject` just now, so that two
 * runs at the same time never share a bucket, and a run after a crash finds the bucket that was left.
 *
 * @param subject namespace, probe and target.
 * @param folder where the names are taken; by default one in the system's temporary folder.
 */
export async function takeOwner(
  subject: readonly string[],
  folder: string = join(tmpdir(), `storage-probe-${userInfo().username}`),
): Promise<Owner> {
  const base = `${userInfo().username}@${hostname()}`;
  // A container's file system may be read-only; it has one run at a time.
  if (!(await canHold(folder))) return { name: base, [Symbol.asyncDispose]: async () => {} };
  const fingerprint = hash('sha256', subject.join('\n'), 'hex').slice(0, 16);
  for (let slot = 0; slot < MAX_SLOTS; slot += 1) {
    const file = join(folder, `${fingerprint}-${slot}.pid`);
    if (!(await take(file))) continue;
    return {
      name: slot === 0 ? base : `${base}/${slot}`,
      [Symbol.asyncDispose]: () => rm(file, { force: true }),
    };
  }
  throw new InputError(
    `${subject.join(' ')}: ${MAX_SLOTS} runs of it are under way already; their names are in ${folder}`,
  );
}

async function canHold(folder: string): Promise<boolean> {
  return mkdir(folder, { recursive: true, mode: 0o700 })
    .then(() => access(folder, constants.W_OK))
    .then(
      () => true,
      () => false,
    );
}

async function take(file: string): Promise<boolean> {
  if (await create(file)) return true;
  const holder = Number(await readFile(file, 'utf8').catch(() => ''));
  if (isRunning(holder)) return false;
  await rm(file, { force: true });
  return create(file);
}

async function create(file: string): Promise<boolean> {
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
  // A file that is still empty belongs to a process that is just writing it.
  if (!Number.isInteger(pid) || pid <= 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
