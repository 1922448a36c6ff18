import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, cp, mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { z } from 'zod';

import { spawnChild, waitForExit } from './child.ts';
import { formatElapsed, type Progress, startProgressTimer } from './progress.ts';
import type { Server } from './servers.ts';

export interface GoBuild {
  readonly name: string;
  readonly server: Server;
  /** Path of the program, written atomically. Go's output is written to `<binary>.log`. */
  readonly binary: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal | undefined;
  readonly progress: Progress;
}

const TAIL_LINES = 12;

/** Returns a hash of all inputs to the build. */
export async function buildInputsHash(name: string, server: Server): Promise<string> {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum'])
    hash.update(await readFile(join(moduleFolder(name, server), file)));
  hash.update(JSON.stringify([process.platform, process.arch, buildArguments(server, name)]));
  return hash.digest('hex').slice(0, 12);
}

/** @throws Error with the end of the log, or with alternatives if Go is not installed. */
export async function goBuild({ name, server, binary, env, signal, progress }: GoBuild): Promise<void> {
  await requireGo(name, server, env);
  const { title } = server;
  const startedMs = performance.now();
  const work = `${binary}.work`;
  const built = join(work, 'built');
  const source = join(work, 'source');
  const log = createWriteStream(`${binary}.log`);
  const tail: string[] = [];
  let modules = 0;
  let packages = 0;

  function onLine(line: string): void {
    log.write(`${line}\n`);
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    if (line.startsWith('go: downloading ')) modules++;
    else if (/^[\w./-]+$/.test(line)) packages++;
  }
  const go = (args: readonly string[], cwd: string): Promise<string> =>
    runGo(args, { cwd, env: { ...env, GOTMPDIR: work }, signal, onLine });

  progress(`building ${title} from source (${server.buildTime} the first time)`);
  using _ = startProgressTimer((elapsed) => {
    progress(`building ${title}: ${elapsed}, ${modules} modules downloaded, ${packages} packages compiled`);
  });
  try {
    await rm(work, { recursive: true, force: true });
    await mkdir(work);
    let folder = moduleFolder(name, server);
    if (server.buildInModule !== undefined) {
      await copyModule(await go(['mod', 'download', '-json', server.buildInModule], folder), source);
      folder = source;
    }
    await go(buildArguments(server, built), folder);
    await rename(built, binary);
  } catch (error) {
    signal?.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    const lines = [`Building ${title} failed: ${why} The log is ${binary}.log and ends with:`, ...tail];
    throw new Error(lines.join('\n  '), { cause: error });
  } finally {
    log.end();
    await rm(work, { recursive: true, force: true });
  }
  progress(`built ${title} in ${formatElapsed(performance.now() - startedMs)}`);
}

function moduleFolder(name: string, { folder = name }: Server): string {
  return join(import.meta.dirname, folder);
}

function buildArguments(server: Server, output: string): string[] {
  const { ldflags, package: mainPackage, tags } = server;
  const flags = ['-v', '-trimpath', '-buildvcs=false', '-ldflags', ldflags];
  // An empty flag would change the build hash of servers without tags, which would then be rebuilt.
  if (tags !== undefined) flags.push('-tags', tags);
  return ['build', ...flags, '-o', output, mainPackage];
}

interface GoOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal | undefined;
  readonly onLine: (line: string) => void;
}

/** Returns Go's stdout. */
async function runGo(args: readonly string[], { cwd, env, signal, onLine }: GoOptions): Promise<string> {
  signal?.throwIfAborted();
  const stdout: string[] = [];
  const child = await spawnChild('go', args, {
    cwd,
    env: { ...env, CGO_ENABLED: '0', GOWORK: 'off' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  forEachLine(child.process.stdout, (line) => {
    stdout.push(line);
    onLine(line);
  });
  forEachLine(child.process.stderr, onLine);
  const { code } = await waitForExit(child, signal);
  if (code !== 0) throw new Error(`go ${args[0]} exited with code ${code}.`);
  return stdout.join('\n');
}

function forEachLine(input: Readable | null, onLine: (line: string) => void): void {
  if (input !== null) createInterface({ input }).on('line', onLine);
}

/** Copies a module out of Go's module cache, which is read-only. */
async function copyModule(downloaded: string, target: string): Promise<void> {
  const { Dir } = z.object({ Dir: z.string() }).parse(JSON.parse(downloaded));
  await cp(Dir, target, { recursive: true });
  // The copied folders are read-only, so they could not be removed otherwise.
  await chmod(target, 0o755);
  for (const entry of await readdir(target, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
}

async function requireGo(name: string, server: Server, env: NodeJS.ProcessEnv): Promise<void> {
  if (!(await hasGo(env))) throw new Error(explainMissingGo(name, server));
}

export async function hasGo(env: NodeJS.ProcessEnv): Promise<boolean> {
  return promisify(execFile)('go', ['version'], { env }).then(
    () => true,
    () => false,
  );
}

export function explainMissingGo(name: string, { title, envVariable, image }: Server): string {
  return (
    `${title} is not installed and cannot be built without Go: install Go (https://go.dev/dl), ` +
    `put the program on PATH as ${name}, or set ${envVariable} to its path. The image ${image} also contains it.`
  );
}
