import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const requirementsFile = new URL('talk/requirements.txt', import.meta.url).pathname;

/** Thrown when the Python contender cannot run on this machine. */
export class PythonMissing extends Error {
  override readonly name = 'PythonMissing';
}

/**
 * Creates a virtual environment from `talk/requirements.txt` in the user's cache. It is reused until that file changes.
 *
 * @returns the path of the environment's Python.
 * @throws {PythonMissing} if `python3` or its venv module is missing, or the packages cannot be installed.
 */
export async function preparePython(): Promise<string> {
  const requirements = await readFile(requirementsFile);
  const hash = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  // An empty variable counts as unset. Source: XDG Base Directory Specification.
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const dir = join(cache, 'storage-probe', `python-${hash}`);
  const python = join(dir, 'bin', 'python');
  const complete = join(dir, 'complete');
  if (existsSync(complete)) return python;

  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await runOrReport('python3 with venv is missing', 'python3', ['-m', 'venv', dir]);
  await runOrReport('the Python packages cannot be installed', python, [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--requirement',
    requirementsFile,
  ]);
  await writeFile(complete, '');
  return python;
}

async function runOrReport(problem: string, command: string, args: string[]): Promise<void> {
  try {
    await run(command, args);
  } catch (error) {
    const lastLine = String(error).trim().split('\n').at(-1);
    throw new PythonMissing(`${problem} (${lastLine})`, { cause: error });
  }
}
