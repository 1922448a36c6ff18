import type { Readable, Writable } from 'node:stream';

import type { Clock } from '../clock/clock.ts';

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** What a command gets of the process. Only `main.ts` and `commands/` see it. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
  /** Aborts when the user or the system asks the process to end. */
  readonly signal: AbortSignal;
  readonly version: string;
}

/** Exit codes of every command. */
export const EXIT = {
  passed: 0,
  /** A target failed. */
  failed: 1,
  /** The probe could not be run, or could not tell. */
  unknown: 2,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The user's input cannot be worked with: one clear line for each mistake, no stack. */
export class InputError extends Error {
  override readonly name = 'InputError';
  readonly lines: readonly string[];

  constructor(...lines: string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}
