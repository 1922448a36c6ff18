import type { RunTime } from '../support/run-times.ts';
import type { LogLine, RunningOperator } from './operator.ts';

/** Start and end of each logged run, by probe name. Sorted by start. */
export function runTimes(...operators: readonly RunningOperator[]): Map<string, RunTime[]> {
  const lines = operators.flatMap((operator) => operator.logs()).filter((line) => isRun(line));
  const byProbe = Map.groupBy(lines, ({ probe }) => probe.slice(probe.indexOf('/') + 1));
  return new Map([...byProbe].map(([name, ofProbe]) => [name, timesOf(ofProbe)]));
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
