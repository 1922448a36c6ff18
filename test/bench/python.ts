import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const requirementsFile = new URL('talk/requirements.txt', import.meta.url).pathname;

/** Why the Python contender cannot take part. */
export class PythonMissing extends Error {
  override readonly name = 'PythonMissing';
}

/**
 * Makes the virtual environment of `talk/requirements.txt` in the user's cache, once for each content of that file.
 *
 * @returns the path of its Python.
 * @throws {PythonMissing} when there is no `python3` with venv, or the packages cannot be had.
 */
export async function preparePython(): Promise<string> {
  const requirements = await readFile(requirementsFile);
  const hash = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  // Empty counts as unset. Source: XDG Base Directory Specification.
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const dir = join(cache, 'storage-probe', `python-${hash}`);
  const python = join(dir, 'bin', 'python');
  const complete = join(dir, 'complete');
  if (existsSync(complete)) return python;

  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await attempt('no python3 with venv', 'python3', ['-m', 'venv', dir]);
  await attempt('its packages cannot be installed', python, [
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

async function attempt(problem: string, command: string, args: string[]): Promise<void> {
  try {
    await run(command, args);
  } catch (error) {
    const lastLine = String(error).trim().split('\n').at(-1);
    throw new PythonMissing(`${problem} (${lastLine})`, { cause: error });
  }
}
