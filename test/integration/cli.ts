import { once } from 'node:events';

import { spawnChild, type Exit } from '../../deploy/local/child.ts';
import type { Credentials, RunResult } from '../../src/api/run.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
/** A command that runs longer is killed. All tests finish well before. */
const DEADLINE_MS = 50_000;

export interface CliOptions {
  /** Passed in environment variables; the output must not contain the secrets. */
  readonly credentials?: Credentials | undefined;
  /** Content of stdin, for `-f -`. */
  readonly input?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** JavaScript to run in the same process before the program. */
  readonly preload?: string | undefined;
}

export interface CliExit extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  kill(signal: NodeJS.Signals): void;
  /** Resolves when stdout contains `text`. @throws Error if the program exits first. */
  untilPrinted(text: string): Promise<void>;
  readonly exited: Promise<CliExit>;
}

/** Runs the command line until it exits, as a user would. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliExit> {
  const cli = await startCli(args, options);
  return cli.exited;
}

/** Starts the command line without this process's environment variables, which could change its behaviour. */
export async function startCli(args: readonly string[], options: CliOptions = {}): Promise<RunningCli> {
  const { credentials, input = '', env, preload } = options;
  const imports =
    preload === undefined ? [] : [`--import=data:text/javascript,${encodeURIComponent(preload)}`];
  const child = await spawnChild(process.execPath, [...imports, MAIN, ...args], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...credentialsEnv(credentials), ...env },
    stdio: 'pipe',
  });
  const { stdin, stdout, stderr } = child.process;
  if (stdin === null || stdout === null || stderr === null) throw new Error('the child has no pipes');
  const output = { stdout: '', stderr: '' };
  stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  // The program may exit before it has read its input.
  stdin.on('error', () => undefined).end(input);

  const untilExited = async (): Promise<CliExit> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
    const exit = await child.exited;
    clearTimeout(timer);
    expectNoSecret(output, credentials);
    return { ...exit, ...output };
  };
  const untilPrinted = async (text: string): Promise<void> => {
    while (!output.stdout.includes(text)) {
      if (stdout.readableEnded) throw new Error(`exited without printing ${text}: ${output.stderr}`);
      await Promise.race([once(stdout, 'data'), child.exited]);
    }
  };
  return { kill: (signal) => child.kill(signal), untilPrinted, exited: untilExited() };
}

/** Results printed by `-o json`. */
export function resultsOf({ stdout, stderr }: CliExit): RunResult[] {
  const lines = stdout.split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new Error(`no result on stdout; stderr: ${stderr}`);
  return lines.map((line) => JSON.parse(line) as RunResult);
}

export function resultOf(exit: CliExit): RunResult {
  const [result, ...more] = resultsOf(exit);
  if (result === undefined || more.length > 0) throw new Error(`expected one result: ${exit.stdout}`);
  return result;
}

/** Preload that prints the peak memory as the last line of stderr, for {@link peakMemoryBytes}. */
export const REPORT_PEAK_MEMORY = `process.on('exit', () => process.stderr.write(\`peak \${process.resourceUsage().maxRSS} KiB\\n\`));`;

export function peakMemoryBytes({ stderr }: CliExit): number {
  return 1_024 * Number(/^peak (\d+) KiB$/m.exec(stderr)?.[1]);
}

function credentialsEnv(credentials: Credentials | undefined): Record<string, string> {
  if (credentials === undefined) return {};
  const { accessKey, secretKey, sessionToken } = credentials;
  return {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    ...(sessionToken !== undefined && { AWS_SESSION_TOKEN: sessionToken }),
  };
}

function expectNoSecret(
  { stdout, stderr }: Pick<CliExit, 'stdout' | 'stderr'>,
  credentials?: Credentials,
): void {
  for (const secret of [credentials?.secretKey, credentials?.sessionToken]) {
    if (secret !== undefined && `${stdout}${stderr}`.includes(secret))
      throw new Error('a secret was printed');
  }
}
