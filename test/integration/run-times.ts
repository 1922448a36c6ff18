import type { LogLine, RunningOperator } from './operator.ts';

/** One run as the operator's log tells it; wall ms. */
export interface RunTime {
  readonly startMs: number;
  readonly endMs: number;
}

/** The runs of each probe in the order of their starts, by its name. */
export function runTimes(...operators: readonly RunningOperator[]): Map<string, RunTime[]> {
  const lines = operators.flatMap((operator) => operator.logs()).filter((line) => isRun(line));
  const byProbe = Map.groupBy(lines, ({ probe }) => probe.slice(probe.indexOf('/') + 1));
  return new Map([...byProbe].map(([name, own]) => [name, timesOf(own)]));
}

/** Longest time in which no run of a probe was under way, between two times. */
export function longestPauseMs(runs: readonly RunTime[], fromMs: number, toMs: number): number {
  const within = runs.filter(({ startMs, endMs }) => endMs > fromMs && startMs < toMs);
  const starts = [...within.map(({ startMs }) => startMs), toMs];
  const ends = [fromMs, ...within.map(({ endMs }) => endMs)];
  return Math.max(...starts.map((startMs, index) => startMs - (ends[index] ?? fromMs)));
}

interface RunLine extends LogLine {
  readonly probe: string;
  readonly time: string;
  readonly durationMs: number;
}

function isRun(line: LogLine): line is RunLine {
  return line.msg === 'run passed' || line.msg === 'run did not pass';
}

function timesOf(lines: readonly RunLine[]): RunTime[] {
  return lines
    .map(({ time, durationMs }) => ({ startMs: Date.parse(time) - durationMs, endMs: Date.parse(time) }))
    .toSorted((a, b) => a.startMs - b.startMs);
}
