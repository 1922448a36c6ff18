import type { Readable, Writable } from 'node:stream';

import type { Clock } from '../clock/clock.ts';

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Process resources for a command. Used only by `main.ts` and `commands/`. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
  /** Aborts when the process is asked to stop. */
  readonly signal: AbortSignal;
  readonly version: string;
}

/** Exit codes of every command. */
export const EXIT = {
  passed: 0,
  /** A target failed. */
  failed: 1,
  /** A probe could not run, or its verdict is Unknown. */
  unknown: 2,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Invalid user input. Printed as one line per mistake, without a stack trace. */
export class InputError extends Error {
  override readonly name = 'InputError';
  readonly lines: readonly string[];

  constructor(...lines: string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}
