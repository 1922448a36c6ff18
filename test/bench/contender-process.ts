import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import type { Measurement } from './contenders/serve.ts';
import type { Settings } from './contenders/settings.ts';

/** The harness's side of the protocol in `contenders/serve.ts`. */
export class ContenderProcess {
  readonly #name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(name: string, command: readonly string[], settings: Settings) {
    const [file = '', ...args] = command;
    this.#name = name;
    this.#child = spawn(file, [...args, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Does not inherit the caller's environment, whose proxies, OTEL_* and NODE_OPTIONS would distort the results.
      env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
    });
    // If the contender has exited, `#nextLine` reports it.
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Resolves when the contender has warmed up. */
  static async start(
    name: string,
    command: readonly string[],
    settings: Settings,
  ): Promise<ContenderProcess> {
    const contender = new ContenderProcess(name, command, settings);
    await once(contender.#child, 'spawn');
    await contender.#nextLine();
    return contender;
  }

  async run(runs: number): Promise<Measurement> {
    this.#child.stdin.write(`run ${runs}\n`);
    return JSON.parse(await this.#nextLine());
  }

  /** Closes the contender's stdin and waits for it to exit. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.stdin.end();
    await once(this.#child, 'exit');
  }

  async #nextLine(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`contender ${this.#name} exited unexpectedly`);
    return line.value;
  }
}
