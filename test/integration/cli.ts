import { once } from 'node:events';

import { spawnChild, type Exit } from '../../deploy/local/child.ts';
import type { Credentials, RunResult } from '../../src/api/run.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
/** No run of the tests comes near it. */
const DEADLINE_MS = 50_000;

export interface CliOptions {
  /** Reaches the program by its environment, and must never be seen again. */
  readonly credentials?: Credentials | undefined;
  /** What stdin holds, for `-f -`. */
  readonly input?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** JavaScript that runs in the process before the program. */
  readonly preload?: string | undefined;
}

export interface CliEnd extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  kill(signal: NodeJS.Signals): void;
  /** Resolves when stdout holds `text`. */
  printed(text: string): Promise<void>;
  readonly ended: Promise<CliEnd>;
}

/** Runs the command line to its end, as a user would. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliEnd> {
  const cli = await startCli(args, options);
  return cli.ended;
}

/** Starts the command line with nothing of this process's environment that could change what it does. */
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
  // It may end before it has read what it is given.
  stdin.on('error', () => undefined).end(input);

  const end = async (): Promise<CliEnd> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
    const exit = await child.exited;
    clearTimeout(timer);
    expectNoSecret(output, credentials);
    return { ...exit, ...output };
  };
  const printed = async (text: string): Promise<void> => {
    while (!output.stdout.includes(text)) {
      if (stdout.readableEnded) throw new Error(`ended without printing ${text}: ${output.stderr}`);
      await Promise.race([once(stdout, 'data'), child.exited]);
    }
  };
  return { kill: (signal) => child.kill(signal), printed, ended: end() };
}

/** What `-o json` printed. */
export function resultsOf({ stdout, stderr }: CliEnd): RunResult[] {
  const lines = stdout.split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new Error(`no result on stdout; stderr: ${stderr}`);
  return lines.map((line) => JSON.parse(line) as RunResult);
}

export function resultOf(end: CliEnd): RunResult {
  const [result, ...more] = resultsOf(end);
  if (result === undefined || more.length > 0) throw new Error(`not one result: ${end.stdout}`);
  return result;
}

/** To preload: the program's last line on stderr then tells its peak memory, for {@link peakBytesOf}. */
export const TELL_PEAK = `process.on('exit', () => process.stderr.write(\`peak \${process.resourceUsage().maxRSS} KiB\\n\`));`;

export function peakBytesOf({ stderr }: CliEnd): number {
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

function expectNoSecret({ stdout, stderr }: Pick<CliEnd, 'stdout' | 'stderr'>, given?: Credentials): void {
  for (const secret of [given?.secretKey, given?.sessionToken]) {
    if (secret !== undefined && `${stdout}${stderr}`.includes(secret))
      throw new Error('a secret was printed');
  }
}
