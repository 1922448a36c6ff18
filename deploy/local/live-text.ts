import type { WriteStream } from 'node:tty';

/** What it writes to, such as `process.stdout`. */
export type Output = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** Shows a text that changes: in a terminal always in the same place, else again for each change that is news. */
export class LiveText {
  readonly #out: Output;
  #linesShown = 0;
  #news: string | undefined;

  constructor(out: Output) {
    this.#out = out;
  }

  /** @param news outside of a terminal, the text is shown when this is another one than the last time. */
  show(text: string, news: string): void {
    if (this.#out.isTTY === true) this.#redraw(text.split('\n'));
    else if (news !== this.#news) this.#out.write(`${text}\n\n`);
    this.#news = news;
  }

  #redraw(lines: readonly string[]): void {
    const back = this.#linesShown === 0 ? '' : `\u001B[${this.#linesShown}A\u001B[J`;
    // A line that wraps would take two, and the next redraw would begin too low.
    const fitting = lines.map((line) => `${line.slice(0, this.#out.columns)}\n`);
    this.#out.write(back + fitting.join(''));
    this.#linesShown = lines.length;
  }
}
