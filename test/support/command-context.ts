import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { WriteStream } from 'node:tty';

import { onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import type { CommandContext, Output } from '../../src/commands/context.ts';

/** An output that keeps everything written to it in `text`. */
export class CapturedOutput extends Writable implements Output {
  text = '';
  readonly isTTY: boolean;
  readonly columns?: number;

  /** @param columns width of the terminal. If absent, the output is not a terminal. */
  constructor(columns?: number) {
    super({ decodeStrings: false });
    this.isTTY = columns !== undefined;
    if (columns !== undefined) this.columns = columns;
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  /** Node calls this on terminals to detect colour support. */
  getColorDepth(): number {
    return WriteStream.prototype.getColorDepth.call(this);
  }

  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}

export interface TestContext extends CommandContext {
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
}

/** Command context with an empty environment, no input and no terminal, unless overridden. */
export function testContext(
  context: Partial<CommandContext> & { readonly columns?: number } = {},
): TestContext {
  return {
    env: {},
    stdin: Readable.from([]),
    clock: systemClock,
    signal: new AbortController().signal,
    version: '1.2.3',
    ...context,
    stdout: new CapturedOutput(context.columns),
    stderr: new CapturedOutput(),
  };
}

/** Creates a temporary folder that is deleted after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'storage-probe-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}
