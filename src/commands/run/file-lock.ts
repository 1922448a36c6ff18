import { DatabaseSync } from 'node:sqlite';

/** Result code `SQLITE_BUSY`. Source: SQLite, "Result and Error Codes". */
const SQLITE_BUSY = 5;

/**
 * Locks a file until the lock is disposed of or the process ends, however it ends. Creates the file if it is missing.
 *
 * Node offers no file locks, but its SQLite does: an exclusive transaction holds a lock that the kernel releases. The
 * file stays empty. Never delete it, because another process could then lock a new file of the same name.
 *
 * @returns undefined if the lock is held, also by this process.
 * @throws Error if the file cannot be locked, for example because the file system is read-only.
 */
export function tryLock(file: string): Disposable | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
    return {
      [Symbol.dispose]: () => {
        database.close();
      },
    };
  } catch (error) {
    database.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
}
