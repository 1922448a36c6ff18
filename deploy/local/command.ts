import { basename } from 'node:path';
import type { Readable } from 'node:stream';

import { type Child, spawnChild, untilEnded } from './child.ts';
import { hasCode } from './has-code.ts';
import { type Progress, startBeat } from './progress.ts';

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Is told every 10 s how long the command has been running. By default nobody is. */
  readonly progress?: Progress | undefined;
  readonly cwd?: string | undefined;
  /** Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** What it reads from stdin. Secrets go here: arguments can be read by every process. */
  readonly input?: string | undefined;
}

/** Of each stream. */
const MAX_OUTPUT_CHARS = 64 * 1_024 * 1_024;
const TAIL_LINES = 20;

/**
 * Runs a command to its end, and returns what it printed on stdout. When the signal aborts, the command is gone before
 * this rejects.
 *
 * @throws Error when there is no such program, and with the end of what it printed when it fails.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  { signal, progress, cwd, env, input = '' }: CommandOptions = {},
): Promise<string> {
  const shown = `${basename(command)} ${args[0] ?? ''}`.trim();
  using _ = startBeat((elapsed) => progress?.(`${shown}: ${elapsed}`));
  try {
    const child = await spawnChild(command, args, { cwd, env, stdio: 'pipe' });
    const stdout = collect(child, child.process.stdout);
    const stderr = collect(child, child.process.stderr);
    // It may end without having read all; how it ended says why.
    child.process.stdin?.on('error', () => undefined).end(input);
    const exit = await untilEnded(child, signal);
    if (exit.code === 0) return stdout();
    const said = tailOf(`${stdout()}${stderr()}`);
    throw new Error(`${shown} failed:\n  ${said.join('\n  ') || `exit ${exit.code ?? exit.signal}`}`);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw new Error(`${command} is not on this machine`, { cause: error });
    throw error;
  }
}

/** Returns who tells what has come so far. A command that says too much is ended. */
function collect(child: Child, stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    if (text.length + chunk.length > MAX_OUTPUT_CHARS) child.kill('SIGKILL');
    else text += chunk;
  });
  return () => text;
}

/** Some programs say on stdout why they failed. */
function tailOf(output: string): string[] {
  const said = output.trim();
  return said === '' ? [] : said.split('\n').slice(-TAIL_LINES);
}
