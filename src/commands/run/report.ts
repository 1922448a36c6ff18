import { stringify } from 'yaml';

import { toMicroseconds } from '../../api/microseconds.ts';
import type { RunResult } from '../../api/run.ts';
import type { Progress } from '../../probe/run-probe.ts';
import { STEPS } from '../../probe/steps.ts';
import type { Output } from '../context.ts';
import { Patterns } from './patterns.ts';
import { formatMs, type Paint, paintFor } from './text.ts';
import { VERDICT_TONES, verdictLines, waterfall, type WaterfallOptions } from './waterfall.ts';

/** Width where there is no terminal to ask. */
const DEFAULT_COLUMNS = 120;
/** With more targets than this, the waterfalls of those that passed are left out. */
const MAX_WATERFALLS = 3;

/** Tells the user what the runs give, as they go and at the end. */
export interface Report {
  /** A step of a run began or ended. */
  progress(target: string, progress: Progress): void;
  ran(result: RunResult): void;
  end(): void;
}

export interface ReportOptions {
  readonly format: 'text' | 'json' | 'yaml';
  readonly output: Output;
  readonly jaegerUrl?: string | undefined;
  /** Runs to come, of all targets together. */
  readonly runs: number;
  /** Of them, how many for each target. */
  readonly runsPerTarget: number;
}

export function reportFor(options: ReportOptions): Report {
  const { output } = options;
  switch (options.format) {
    case 'json':
      return documents((result) => output.write(`${JSON.stringify(result, readable)}\n`));
    case 'yaml':
      return documents((result) => output.write(`---\n${stringify(result, readable)}`));
    case 'text':
      return options.runsPerTarget > 1 ? new SeriesReport(options) : new TextReport(options);
  }
}

function readable(_key: unknown, value: unknown): unknown {
  return typeof value === 'number' ? toMicroseconds(value) : value;
}

function documents(write: (result: RunResult) => void): Report {
  return { progress: () => undefined, ran: write, end: () => undefined };
}

/** One run of each target: a waterfall each. */
class TextReport implements Report {
  readonly #options: ReportOptions;
  readonly #status: StatusLine;
  readonly #waterfall: WaterfallOptions;

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#status = new StatusLine(options.output, options.runs);
    this.#waterfall = waterfallOptions(options);
  }

  progress(target: string, progress: Progress): void {
    this.#status.show(target, progress);
  }

  ran(result: RunResult): void {
    this.#status.ran();
    const whole = this.#options.runs <= MAX_WATERFALLS || result.verdict !== 'Passed';
    const lines = whole ? [...waterfall(result, this.#waterfall), ''] : verdictLines(result, this.#waterfall);
    this.#options.output.write(`${lines.join('\n')}\n`);
  }

  end(): void {
    this.#status.clear();
  }
}

/** Several runs of each target: a line each, then the patterns, then the waterfall of the last. */
class SeriesReport implements Report {
  readonly #options: ReportOptions;
  readonly #status: StatusLine;
  readonly #paint: Paint;
  readonly #patterns = new Patterns();
  #last: RunResult | undefined;

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#status = new StatusLine(options.output, options.runs);
    this.#paint = paintFor(options.output);
  }

  progress(target: string, progress: Progress): void {
    this.#status.show(target, progress);
  }

  ran(result: RunResult): void {
    this.#status.ran();
    this.#patterns.add(result);
    this.#last = result;
    this.#options.output.write(`${this.#line(result)}\n`);
  }

  end(): void {
    this.#status.clear();
    if (this.#last === undefined) return;
    const lines = [
      ...this.#patterns.lines(this.#paint),
      '',
      ...waterfall(this.#last, waterfallOptions(this.#options)),
    ];
    this.#options.output.write(`${lines.join('\n')}\n`);
  }

  #line({ startTime, target, verdict, reason, failedStep, durationMs, traceId }: RunResult): string {
    const time = this.#paint('quiet', startTime.slice(11, 19));
    const why = reason === undefined ? '' : `  ${reason} in ${failedStep}`;
    return `${time}  ${target}  ${this.#paint(VERDICT_TONES[verdict], verdict)}  ${formatMs(durationMs).padStart(8)}  trace ${traceId}${why}`;
  }
}

function waterfallOptions({ output, jaegerUrl }: ReportOptions): WaterfallOptions {
  return { paint: paintFor(output), columns: output.columns ?? DEFAULT_COLUMNS, jaegerUrl };
}

/** In a terminal, one line that says what goes on now; elsewhere nothing. */
class StatusLine {
  readonly #output: Output;
  readonly #runs: number;
  #done = 0;

  constructor(output: Output, runs: number) {
    this.#output = output;
    this.#runs = runs;
  }

  show(target: string, progress: Progress): void {
    if (this.#output.isTTY !== true || !('began' in progress)) return;
    const index = STEPS.findIndex(({ functionName }) => functionName === progress.began);
    const runs = this.#runs > 1 ? `run ${this.#done + 1} of ${this.#runs}, ` : '';
    const text = `${target}: ${runs}step ${index + 1} of ${STEPS.length}, ${STEPS[index]?.name}…`;
    this.#output.write(`\r\u001B[K${text.slice(0, (this.#output.columns ?? DEFAULT_COLUMNS) - 1)}`);
  }

  ran(): void {
    this.#done += 1;
    this.clear();
  }

  clear(): void {
    if (this.#output.isTTY === true) this.#output.write('\r\u001B[K');
  }
}
