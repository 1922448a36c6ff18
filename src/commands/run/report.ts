import { stringify } from 'yaml';

import { toMicroseconds } from '../../api/microseconds.ts';
import type { RunResult } from '../../api/run.ts';
import type { Progress } from '../../probe/run-probe.ts';
import { STEPS } from '../../probe/steps.ts';
import type { Output } from '../context.ts';
import { Patterns } from './patterns.ts';
import { formatMs, type Paint, paintFor } from './text.ts';
import { VERDICT_TONES, verdictLines, waterfall, type WaterfallOptions } from './waterfall.ts';

/** Width of output that is not a terminal. */
const DEFAULT_COLUMNS = 120;
/** With more runs than this, passed runs are printed without a waterfall. */
const MAX_WATERFALLS = 3;

/** Prints results while the runs are in progress and after the last one. */
export interface Report {
  /** Called when a step starts or finishes. */
  progress(target: string, progress: Progress): void;
  addResult(result: RunResult): void;
  finish(): void;
}

export interface ReportOptions {
  readonly format: 'text' | 'json' | 'yaml';
  readonly output: Output;
  readonly jaegerUrl?: string | undefined;
  /** Total number of runs over all targets. */
  readonly runs: number;
  readonly runsPerTarget: number;
}

export function createReport(options: ReportOptions): Report {
  const { output } = options;
  switch (options.format) {
    case 'json':
      return documentReport((result) => output.write(`${JSON.stringify(result, roundNumbers)}\n`));
    case 'yaml':
      return documentReport((result) => output.write(`---\n${stringify(result, roundNumbers)}`));
    case 'text':
      return options.runsPerTarget > 1 ? new SeriesReport(options) : new TextReport(options);
  }
}

function roundNumbers(_key: unknown, value: unknown): unknown {
  return typeof value === 'number' ? toMicroseconds(value) : value;
}

function documentReport(write: (result: RunResult) => void): Report {
  return { progress: () => undefined, addResult: write, finish: () => undefined };
}

/** Report for one run per target: prints a waterfall for each. */
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

  addResult(result: RunResult): void {
    this.#status.runFinished();
    const showWaterfall = this.#options.runs <= MAX_WATERFALLS || result.verdict !== 'Passed';
    const lines = showWaterfall
      ? [...waterfall(result, this.#waterfall), '']
      : verdictLines(result, this.#waterfall);
    this.#options.output.write(`${lines.join('\n')}\n`);
  }

  finish(): void {
    this.#status.clear();
  }
}

/** Report for several runs per target: prints one line per run, then the patterns and the last run's waterfall. */
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

  addResult(result: RunResult): void {
    this.#status.runFinished();
    this.#patterns.add(result);
    this.#last = result;
    this.#options.output.write(`${this.#line(result)}\n`);
  }

  finish(): void {
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

/** Shows the current step on one line. Does nothing if the output is not a terminal. */
class StatusLine {
  readonly #output: Output;
  readonly #runs: number;
  #done = 0;

  constructor(output: Output, runs: number) {
    this.#output = output;
    this.#runs = runs;
  }

  show(target: string, progress: Progress): void {
    if (this.#output.isTTY !== true || !('started' in progress)) return;
    const index = STEPS.findIndex(({ functionName }) => functionName === progress.started);
    const runs = this.#runs > 1 ? `run ${this.#done + 1} of ${this.#runs}, ` : '';
    const text = `${target}: ${runs}step ${index + 1} of ${STEPS.length}, ${STEPS[index]?.name}…`;
    this.#output.write(`\r\u001B[K${text.slice(0, (this.#output.columns ?? DEFAULT_COLUMNS) - 1)}`);
  }

  runFinished(): void {
    this.#done += 1;
    this.clear();
  }

  clear(): void {
    if (this.#output.isTTY === true) this.#output.write('\r\u001B[K');
  }
}
