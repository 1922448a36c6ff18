import { execFile } from 'node:child_process';
import { access, constants, mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { goBuild, buildInputsHash, explainMissingGo, hasGo } from './go-build.ts';
import { PROGRESS_INTERVAL_MS, type Progress } from './progress.ts';
import { withLock } from './lock.ts';
import { SERVERS, type Server, type ServerName } from './servers.ts';

export interface BinaryOptions {
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Cancels a build, or the wait for another process's build. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

const IDENTITY_TIMEOUT_MS = 10_000;

/**
 * Returns the path of a server's program. Looks in this order: the server's environment variable, the folder in
 * `KUBEBUILDER_ASSETS` (set by envtest), PATH, earlier builds. If it finds no program, builds it with Go, which takes
 * minutes. Concurrent processes share one build.
 *
 * @throws Error that explains how to get the program or, if the build fails, contains the end of the log.
 */
export async function getBinary(name: ServerName, options: BinaryOptions = {}): Promise<string> {
  const { env = process.env, signal, progress = () => undefined } = options;
  const server: Server = SERVERS[name];
  const found = await findBinary(name, env);
  if (found !== undefined) return found;

  const folder = await cacheFolder(name, env);
  const binary = join(folder, name);
  await mkdir(folder, { recursive: true });
  let reportedMs = -Infinity;
  function onBusy(holder: number): void {
    if (performance.now() - reportedMs < PROGRESS_INTERVAL_MS) return;
    reportedMs = performance.now();
    progress(`waiting for process ${holder} to build ${server.title}`);
  }
  await withLock(join(folder, 'lock'), { onBusy, signal }, async () => {
    if (!(await isExecutable(binary))) await goBuild({ name, server, binary, env, signal, progress });
  });
  return binary;
}

/** Why {@link getBinary} cannot return a server's program. Undefined if it can, or if only a failing build prevents it. */
export async function whyMissing(
  name: ServerName,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  if ((await findBinary(name, env)) !== undefined || (await hasGo(env))) return undefined;
  return explainMissingGo(name, SERVERS[name]);
}

/** Like {@link getBinary}, but returns undefined instead of building the program. */
export async function findBinary(
  name: ServerName,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  const server: Server = SERVERS[name];
  const found = (await binaryFromVariable(server, env)) ?? (await binaryInFolders(name, server, env));
  if (found !== undefined) return found;
  const built = join(await cacheFolder(name, env), name);
  return (await isExecutable(built)) ? built : undefined;
}

async function cacheFolder(name: ServerName, env: NodeJS.ProcessEnv): Promise<string> {
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'storage-probe');
  return join(cache, 'bin', `${name}-${await buildInputsHash(name, SERVERS[name])}`);
}

async function binaryFromVariable(
  { envVariable }: Server,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const path = env[envVariable];
  if (path === undefined || path === '') return undefined;
  if (await isExecutable(path)) return path;
  throw new Error(`${envVariable} is set to ${path}, which is not an executable file.`);
}

async function binaryInFolders(
  name: string,
  server: Server,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const folders = [env['KUBEBUILDER_ASSETS'] ?? '', ...(env['PATH'] ?? '').split(delimiter)];
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder !== '' && (await isExecutable(path)) && (await isExpectedProgram(path, server))) return path;
  }
  return undefined;
}

async function isExpectedProgram(path: string, { versionPattern }: Server): Promise<boolean> {
  if (versionPattern === undefined) return true;
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: IDENTITY_TIMEOUT_MS });
    return versionPattern.test(stdout);
  } catch {
    return false;
  }
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
