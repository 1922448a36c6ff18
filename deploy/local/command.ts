import { basename } from 'node:path';
import type { Readable } from 'node:stream';

import { type Child, spawnChild, waitForExit } from './child.ts';
import { hasCode } from './has-code.ts';
import { type Progress, startProgressTimer } from './progress.ts';

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called every 10 s with the time that the command has been running. */
  readonly progress?: Progress | undefined;
  readonly cwd?: string | undefined;
  /** Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Input for stdin. Use this for secrets, because other processes can read arguments. */
  readonly input?: string | undefined;
}

/** Limit for each output stream. */
const MAX_OUTPUT_CHARS = 64 * 1_024 * 1_024;
const TAIL_LINES = 20;

/**
 * Runs a command and returns its stdout. If the signal aborts, this rejects only after the command has exited.
 *
 * @throws Error if the program does not exist. If the command fails, the error contains the end of the output.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  { signal, progress, cwd, env, input = '' }: CommandOptions = {},
): Promise<string> {
  const label = `${basename(command)} ${args[0] ?? ''}`.trim();
  using _ = startProgressTimer((elapsed) => progress?.(`${label}: ${elapsed}`));
  try {
    const child = await spawnChild(command, args, { cwd, env, stdio: 'pipe' });
    const stdout = collect(child, child.process.stdout);
    const stderr = collect(child, child.process.stderr);
    // Ignores the error that occurs if the command exits without reading all its input. The exit code is checked below.
    child.process.stdin?.on('error', () => undefined).end(input);
    const exit = await waitForExit(child, signal);
    if (exit.code === 0) return stdout();
    const tail = tailOf(`${stdout()}${stderr()}`);
    throw new Error(`${label} failed:\n  ${tail.join('\n  ') || `exit ${exit.code ?? exit.signal}`}`);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw new Error(`${command} is not installed`, { cause: error });
    throw error;
  }
}

/** Returns a function that returns the output so far. Kills a command that exceeds the limit. */
function collect(child: Child, stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    if (text.length + chunk.length > MAX_OUTPUT_CHARS) child.kill('SIGKILL');
    else text += chunk;
  });
  return () => text;
}

/** @param output stderr and stdout, because some programs report errors on stdout. */
function tailOf(output: string): string[] {
  const text = output.trim();
  return text === '' ? [] : text.split('\n').slice(-TAIL_LINES);
}
