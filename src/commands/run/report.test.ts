import { stripVTControlCharacters } from 'node:util';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

import { CapturedOutput } from '../../../test/support/command-context.ts';
import { runResult } from '../../../test/support/run-result.ts';
import type { RunResult } from '../../api/run.ts';
import { createReport, type Report, type ReportOptions } from './report.ts';

const ESCAPE = '\u001B';
const FAILED = runResult({ failed: { step: 'ADD_OBJECT', reason: 'SlowDown' } });

interface Setting extends Partial<ReportOptions> {
  /** Terminal width. Absent if the output is not a terminal. */
  readonly columns?: number;
}

function setUp({ columns, ...options }: Setting = {}): { report: Report; output: CapturedOutput } {
  const output = new CapturedOutput(columns);
  return { output, report: createReport({ format: 'text', output, runs: 1, runsPerTarget: 1, ...options }) };
}

function reportOf(results: readonly RunResult[], setting: Setting = {}): CapturedOutput {
  const { report, output } = setUp({ runs: results.length, ...setting });
  for (const result of results) {
    report.progress(result.target, { started: 'CHECK_BUCKET' });
    report.addResult(result);
  }
  report.finish();
  return output;
}

// Node reads these variables, and they may be set where the tests run.
beforeEach(() => {
  for (const name of ['FORCE_COLOR', 'NO_COLOR', 'NODE_DISABLE_COLORS']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('json', () => {
  it('prints exactly one line per run', () => {
    const output = reportOf([runResult(), FAILED], { format: 'json', columns: 80 });
    expect(output.lines.map((line) => JSON.parse(line) as unknown)).toEqual([runResult(), FAILED]);
  });
});

describe('yaml', () => {
  it('prints exactly one document per run', () => {
    const message = `a: "line" # of ${'many words '.repeat(30)}`;
    const results = [runResult(), { ...FAILED, message }];
    const output = reportOf(results, { format: 'yaml', columns: 80 });
    expect(parseAllDocuments(output.text).map((document) => document.toJS() as unknown)).toEqual(results);
  });

  it('prints a single run as a parsable document', () => {
    expect(parse(reportOf([FAILED], { format: 'yaml' }).text)).toEqual(FAILED);
  });
});

describe('text', () => {
  it.each([
    { name: 'one run', setting: {} },
    { name: 'a series', setting: { runsPerTarget: 2 } },
  ])('prints no escape codes outside a terminal: $name', ({ setting }) => {
    const { text } = reportOf([runResult(), FAILED], setting);
    expect(text).not.toContain(ESCAPE);
    expect(text).not.toContain('\r');
    expect(text).toContain('Failed: SlowDown in ADD_OBJECT');
  });

  it('prints the same text in colour to a terminal', () => {
    vi.stubEnv('TERM', 'xterm-256color');
    // Node disables colours in CI.
    vi.stubEnv('CI', undefined);
    const { text } = reportOf([FAILED], { columns: 120 });
    expect(text).toContain(`${ESCAPE}[31m`);
    const plain = stripVTControlCharacters(text).replaceAll(/.*\r/g, '');
    expect(plain).toBe(reportOf([FAILED]).text);
  });

  it('prints plain text to a terminal with NO_COLOR', () => {
    vi.stubEnv('NO_COLOR', '1');
    expect(reportOf([FAILED], { columns: 120 }).text).not.toContain(`${ESCAPE}[3`);
  });

  it('prints every waterfall for up to three targets, and only failed ones for more', () => {
    const waterfalls = (results: readonly RunResult[]): number =>
      reportOf(results).lines.filter((line) => line.includes('  bucket ')).length;
    expect(waterfalls([runResult(), runResult(), FAILED])).toBe(3);
    expect(waterfalls([runResult(), runResult(), runResult(), FAILED])).toBe(1);
    expect(
      reportOf([runResult(), runResult(), runResult(), FAILED]).text.match(/^(Passed|Failed)/gm),
    ).toEqual(['Passed', 'Passed', 'Passed', 'Failed']);
  });

  it('prints a line per run, the patterns and the last waterfall for a series', () => {
    const { lines } = reportOf([runResult(), FAILED, runResult()], { runsPerTarget: 3 });
    expect(lines.slice(0, 3)).toEqual([
      '12:00:00  my-minio  Passed   60.0 ms  trace 0af7651916cd43dd8448eb211c80319c',
      '12:00:00  my-minio  Failed   30.0 ms  trace 0af7651916cd43dd8448eb211c80319c  SlowDown in ADD_OBJECT',
      '12:00:00  my-minio  Passed   60.0 ms  trace 0af7651916cd43dd8448eb211c80319c',
    ]);
    expect(lines).toContain('Patterns of my-minio: 2 of 3 runs passed');
    expect(lines.at(-1)).toBe('Passed  my-minio  60.0 ms  trace 0af7651916cd43dd8448eb211c80319c');
  });

  it('prints nothing for a series that stopped before its first run', () => {
    expect(reportOf([], { runsPerTarget: 3 }).text).toBe('');
  });
});

describe('status line', () => {
  it('is overwritten by each step and cleared at the end', () => {
    const { report, output } = setUp({ columns: 80, runs: 2 });
    report.progress('my-minio', { started: 'CHECK_BUCKET' });
    report.progress('my-minio', { started: 'ADD_OBJECT' });
    expect(output.text.split(`\r${ESCAPE}[K`)).toEqual([
      '',
      'my-minio: run 1 of 2, step 1 of 6, check if bucket exist…',
      'my-minio: run 1 of 2, step 3 of 6, add created object to bucket…',
    ]);
    report.finish();
    expect(output.text.endsWith(`\r${ESCAPE}[K`)).toBe(true);
  });

  it('never exceeds the terminal width', () => {
    const { report, output } = setUp({ columns: 20 });
    report.progress('my-minio', { started: 'ADD_OBJECT' });
    expect(stripVTControlCharacters(output.text).trim()).toBe('my-minio: step 3 of');
  });

  it('is not printed outside a terminal', () => {
    const { report, output } = setUp();
    report.progress('my-minio', { started: 'ADD_OBJECT' });
    report.finish();
    expect(output.text).toBe('');
  });
});
