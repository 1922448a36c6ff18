import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import type { Stretch } from './contenders/serve.ts';
import type { Settings } from './contenders/settings.ts';

/** The harness's end of a contender, which speaks the protocol of `contenders/serve.ts`. */
export class ContenderProcess {
  readonly #name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(name: string, command: readonly string[], settings: Settings) {
    const [file = '', ...args] = command;
    this.#name = name;
    this.#child = spawn(file, [...args, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Not the caller's own: its proxies, OTEL_* and NODE_OPTIONS would change what is measured.
      env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
    });
    // That it broke off shows in what it answers.
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

  async run(runs: number): Promise<Stretch> {
    this.#child.stdin.write(`run ${runs}\n`);
    return JSON.parse(await this.#nextLine());
  }

  /** Lets the contender end by itself. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.stdin.end();
    await once(this.#child, 'exit');
  }

  async #nextLine(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`contender ${this.#name} broke off`);
    return line.value;
  }
}
