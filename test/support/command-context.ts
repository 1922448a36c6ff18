import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { WriteStream } from 'node:tty';

import { onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import type { CommandContext, Output } from '../../src/commands/context.ts';

/** Keeps what is written to it. */
export class Captured extends Writable implements Output {
  text = '';
  readonly isTTY: boolean;
  readonly columns?: number;

  /** @param columns of a terminal; without it, it is none. */
  constructor(columns?: number) {
    super({ decodeStrings: false });
    this.isTTY = columns !== undefined;
    if (columns !== undefined) this.columns = columns;
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  /** Node asks a terminal for its colours. */
  getColorDepth(): number {
    return WriteStream.prototype.getColorDepth.call(this);
  }

  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}

export interface TestContext extends CommandContext {
  readonly stdout: Captured;
  readonly stderr: Captured;
}

/** What a command gets of a process that has no environment, no input and no terminal. */
export function contextOf(
  context: Partial<CommandContext> & { readonly columns?: number } = {},
): TestContext {
  return {
    env: {},
    stdin: Readable.from([]),
    clock: systemClock,
    signal: new AbortController().signal,
    version: '1.2.3',
    ...context,
    stdout: new Captured(context.columns),
    stderr: new Captured(),
  };
}

/** A folder that goes with the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'storage-probe-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}
