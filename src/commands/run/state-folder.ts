import { access, constants, lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';

const NAME = 'storage-probe';

/**
 * Returns a writable folder that outlives the process: in `XDG_STATE_HOME`, the home directory or, failing these, the
 * system's temporary directory. Undefined if none is writable, as in a container with a read-only file system.
 *
 * @param userId of the process. The home directory is not looked up in the passwd database, which need not contain it.
 */
export async function stateFolder(
  env: Readonly<Record<string, string | undefined>>,
  userId = process.getuid?.(),
): Promise<string | undefined> {
  const { XDG_STATE_HOME: stateHome = '', HOME: home = '' } = env;
  const candidates: string[] = [];
  if (isAbsolute(stateHome)) candidates.push(join(stateHome, NAME));
  if (isAbsolute(home)) candidates.push(join(home, '.local', 'state', NAME));
  for (const folder of candidates) if (await isWritable(folder)) return folder;

  const temporary = join(tmpdir(), userId === undefined ? NAME : `${NAME}-${userId}`);
  return (await isWritable(temporary)) && (await isPrivate(temporary, userId)) ? temporary : undefined;
}

async function isWritable(folder: string): Promise<boolean> {
  return mkdir(folder, { recursive: true, mode: 0o700 })
    .then(() => access(folder, constants.W_OK | constants.X_OK))
    .then(
      () => true,
      () => false,
    );
}

/** In a shared directory, another user may have created the folder first. */
async function isPrivate(folder: string, userId: number | undefined): Promise<boolean> {
  const stats = await lstat(folder);
  if (userId === undefined) return stats.isDirectory();
  return stats.isDirectory() && stats.uid === userId && (stats.mode & 0o022) === 0;
}
