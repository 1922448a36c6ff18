import type { WriteStream } from 'node:tty';

/** An output stream such as `process.stdout`. */
export type Output = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/**
 * Shows text that changes. In a terminal, it is redrawn in place. Otherwise, it is printed again after relevant
 * changes.
 */
export class LiveText {
  readonly #out: Output;
  #linesShown = 0;
  #lastState: string | undefined;

  constructor(out: Output) {
    this.#out = out;
  }

  /** @param state outside a terminal, the text is printed only if `state` has changed since the previous call. */
  show(text: string, state: string): void {
    if (this.#out.isTTY === true) this.#redraw(text.split('\n'));
    else if (state !== this.#lastState) this.#out.write(`${text}\n\n`);
    this.#lastState = state;
  }

  #redraw(lines: readonly string[]): void {
    const moveUp = this.#linesShown === 0 ? '' : `\u001B[${this.#linesShown}A\u001B[J`;
    // A wrapped line would take two rows, so the next redraw would start too low.
    const fitting = lines.map((line) => `${line.slice(0, this.#out.columns)}\n`);
    this.#out.write(moveUp + fitting.join(''));
    this.#linesShown = lines.length;
  }
}
