import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

/**
 * Returns the ID kept in `folder`, and creates it if there is none. Processes that start at the same time get the same
 * ID. An ID that cannot be read, for example because the file is empty, is replaced.
 */
export async function proberId(folder: string): Promise<string> {
  const file = join(folder, 'prober-id');
  const existing = await readFile(file, 'utf8').catch(() => undefined);
  if (existing !== undefined && UUID.test(existing)) return existing;
  const complete = `${file}-${randomUUID()}`;
  try {
    await writeFile(complete, randomUUID(), { mode: 0o600 });
    // The file appears with its content, and a link never replaces a file that another process has just created.
    if (existing === undefined) await link(complete, file).catch(ignoreExisting);
    else await rename(complete, file);
  } finally {
    await rm(complete, { force: true });
  }
  return readFile(file, 'utf8');
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}
