import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';

import { BEAT_MS, type Progress } from '../local/go-build.ts';
import { hasCode } from '../local/has-code.ts';

export interface CommandOptions {
  readonly signal: AbortSignal;
  /** Is told every 10 s how long the command has been running. By default nobody is. */
  readonly progress?: Progress | undefined;
  readonly cwd?: string | undefined;
  /** What it reads from stdin. */
  readonly input?: string | undefined;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const TAIL_LINES = 20;

/**
 * Runs a command to its end, and returns what it printed on stdout.
 *
 * @throws Error when there is no such program, and with the end of what it printed when it fails.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  { signal, progress = () => undefined, cwd, input = '' }: CommandOptions,
): Promise<string> {
  const shown = `${basename(command)} ${args[0] ?? ''}`.trim();
  const startedMs = performance.now();
  const beat = setInterval(
    () => progress(`${shown}: ${Math.round((performance.now() - startedMs) / 1_000)} s`),
    BEAT_MS,
  );
  try {
    const running = promisify(execFile)(command, args, { cwd, signal, maxBuffer: MAX_OUTPUT_BYTES });
    // It may end without having read all; how it ended says why.
    running.child.stdin?.on('error', () => undefined).end(input);
    return (await running).stdout;
  } catch (error) {
    signal.throwIfAborted();
    if (hasCode(error, 'ENOENT')) throw new Error(`${command} is not on this machine`, { cause: error });
    throw new Error(`${shown} failed:\n  ${tailOf(error).join('\n  ')}`, { cause: error });
  } finally {
    clearInterval(beat);
  }
}

/** Some programs say on stdout why they failed. */
function tailOf(error: unknown): string[] {
  const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string };
  const said = `${stdout}${stderr}`.trim();
  return (said === '' ? String(error) : said).split('\n').slice(-TAIL_LINES);
}
