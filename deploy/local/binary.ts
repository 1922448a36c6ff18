import { execFile } from 'node:child_process';
import { access, constants, mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { goBuild, recipeHash } from './go-build.ts';
import { BEAT_MS, type Progress } from './progress.ts';
import { withLock } from './lock.ts';
import { SERVERS, type Server, type ServerName } from './servers.ts';

export interface BinaryOptions {
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Ends a build, or the wait for another process's. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

const IDENTITY_TIMEOUT_MS = 10_000;

/**
 * The path of a server's program: what its environment variable names, else what lies in the folder that
 * `KUBEBUILDER_ASSETS` names (set where envtest is used), else what is on PATH, else what was built before, else what Go
 * builds now, which takes minutes. Processes that want the same build at once share it.
 *
 * @throws Error with what is missing and the ways out, or with the end of the failed build's log.
 */
export async function getBinary(name: ServerName, options: BinaryOptions = {}): Promise<string> {
  const { env = process.env, signal, progress = () => undefined } = options;
  const server: Server = SERVERS[name];
  const found = await findBinary(name, env);
  if (found !== undefined) return found;

  const folder = await cacheFolder(name, env);
  const binary = join(folder, name);
  await mkdir(folder, { recursive: true });
  let saidMs = -Infinity;
  function onTaken(holder: number): void {
    if (performance.now() - saidMs < BEAT_MS) return;
    saidMs = performance.now();
    progress(`waiting for process ${holder}, which builds ${server.title}`);
  }
  await withLock(join(folder, 'lock'), { onTaken, signal }, async () => {
    if (!(await isProgram(binary))) await goBuild({ name, server, binary, env, signal, progress });
  });
  return binary;
}

/** As {@link getBinary}, but undefined where Go would have to build it. */
export async function findBinary(
  name: ServerName,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  const server: Server = SERVERS[name];
  const found = (await givenBinary(server, env)) ?? (await binaryInFolders(name, server, env));
  if (found !== undefined) return found;
  const built = join(await cacheFolder(name, env), name);
  return (await isProgram(built)) ? built : undefined;
}

async function cacheFolder(name: ServerName, env: NodeJS.ProcessEnv): Promise<string> {
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'storage-probe');
  return join(cache, 'bin', `${name}-${await recipeHash(name, SERVERS[name])}`);
}

async function givenBinary({ variable }: Server, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const path = env[variable];
  if (path === undefined || path === '') return undefined;
  if (await isProgram(path)) return path;
  throw new Error(`${variable} is set to ${path}, which is not a program.`);
}

async function binaryInFolders(
  name: string,
  server: Server,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const folders = [env['KUBEBUILDER_ASSETS'] ?? '', ...(env['PATH'] ?? '').split(delimiter)];
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder !== '' && (await isProgram(path)) && (await isServer(path, server))) return path;
  }
  return undefined;
}

async function isServer(path: string, { identity }: Server): Promise<boolean> {
  if (identity === undefined) return true;
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: IDENTITY_TIMEOUT_MS });
    return identity.test(stdout);
  } catch {
    return false;
  }
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
