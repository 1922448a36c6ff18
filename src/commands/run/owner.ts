import { hash, randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { tryLock } from './file-lock.ts';
import { proberId } from './prober-id.ts';
import { stateFolder } from './state-folder.ts';

/** Runs of one subject at the same time that have a name which a later run can find again. */
const MAX_SLOTS = 100;

/** Name of this prober, see `RunRequest.owner`. Disposing of it releases the name. */
export interface Owner extends Disposable {
  readonly name: string;
  /** True if the previous run under this name crashed or could not remove everything that it created. */
  readonly mayHaveLeftovers: boolean;
  /** Records that nothing is left of the runs under this name. */
  markClean(): Promise<void>;
}

/**
 * Acquires the first name of this prober that no running process uses for `subject`. Concurrent runs therefore never
 * share a bucket, and a run after a crash reuses the name and finds the leftovers.
 *
 * The name consists of an ID and a slot. The ID and the locks of the slots are in one folder, so processes with the same
 * ID see each other's locks. Host names and PIDs play no part. If there is no writable folder, or all slots are in use,
 * the name is used only once.
 *
 * @param subject namespace, probe and target.
 */
export async function acquireOwner(
  subject: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Owner> {
  const folder = await stateFolder(env);
  try {
    return (folder !== undefined && (await ownerIn(folder, subject))) || oneTimeOwner();
  } catch {
    return oneTimeOwner();
  }
}

async function ownerIn(folder: string, subject: readonly string[]): Promise<Owner | undefined> {
  const id = `${await proberId(folder)}@${await machineId()}`;
  const fingerprint = hash('sha256', subject.join('\n'), 'hex').slice(0, 16);
  for (let slot = 0; slot < MAX_SLOTS; slot += 1) {
    const file = join(folder, `${fingerprint}-${slot}`);
    const lock = tryLock(`${file}.lock`);
    if (lock === undefined) continue;
    const marker = `${file}.unfinished`;
    return {
      name: `${id}/${slot}`,
      mayHaveLeftovers: await createMarker(marker, lock),
      markClean: () => rm(marker, { force: true }),
      [Symbol.dispose]: () => {
        lock[Symbol.dispose]();
      },
    };
  }
  return undefined;
}

/** @returns true if the marker already existed. */
async function createMarker(file: string, lock: Disposable): Promise<boolean> {
  try {
    await writeFile(file, '', { flag: 'wx', mode: 0o600 });
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return true;
    lock[Symbol.dispose]();
    throw error;
  }
}

/** Tells apart machines whose home directories are copies. Empty on machines and in containers without an ID. */
async function machineId(): Promise<string> {
  return readFile('/etc/machine-id', 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
}

function oneTimeOwner(): Owner {
  return {
    name: randomUUID(),
    mayHaveLeftovers: false,
    markClean: () => Promise.resolve(),
    [Symbol.dispose]: () => undefined,
  };
}
