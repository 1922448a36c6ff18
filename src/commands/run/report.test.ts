import { stripVTControlCharacters } from 'node:util';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

import { Captured } from '../../../test/support/command-context.ts';
import { runResult } from '../../../test/support/run-result.ts';
import type { RunResult } from '../../api/run.ts';
import { type Report, reportFor, type ReportOptions } from './report.ts';

const ESCAPE = '\u001B';
const FAILED = runResult({ failed: { step: 'ADD_OBJECT', reason: 'SlowDown' } });

interface Setting extends Partial<ReportOptions> {
  /** Of the terminal; without it, there is none. */
  readonly columns?: number;
}

function setUp({ columns, ...options }: Setting = {}): { report: Report; output: Captured } {
  const output = new Captured(columns);
  return { output, report: reportFor({ format: 'text', output, runs: 1, runsPerTarget: 1, ...options }) };
}

function reportOf(results: readonly RunResult[], setting: Setting = {}): Captured {
  const { report, output } = setUp({ runs: results.length, ...setting });
  for (const result of results) {
    report.progress(result.target, { began: 'CHECK_BUCKET' });
    report.ran(result);
  }
  report.end();
  return output;
}

// Node looks at these, and whoever runs the tests may have set them.
beforeEach(() => {
  for (const name of ['FORCE_COLOR', 'NO_COLOR', 'NODE_DISABLE_COLORS']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('json', () => {
  it('is one line for each run, and nothing else', () => {
    const output = reportOf([runResult(), FAILED], { format: 'json', columns: 80 });
    expect(output.lines.map((line) => JSON.parse(line) as unknown)).toEqual([runResult(), FAILED]);
  });
});

describe('yaml', () => {
  it('is a document for each run, and nothing else', () => {
    const message = `a: "line" # of ${'many words '.repeat(30)}`;
    const results = [runResult(), { ...FAILED, message }];
    const output = reportOf(results, { format: 'yaml', columns: 80 });
    expect(parseAllDocuments(output.text).map((document) => document.toJS() as unknown)).toEqual(results);
  });

  it('is readable by itself', () => {
    expect(parse(reportOf([FAILED], { format: 'yaml' }).text)).toEqual(FAILED);
  });
});

describe('text', () => {
  it.each([
    { name: 'one run', setting: {} },
    { name: 'a series', setting: { runsPerTarget: 2 } },
  ])('has no escape codes outside a terminal: $name', ({ setting }) => {
    const { text } = reportOf([runResult(), FAILED], setting);
    expect(text).not.toContain(ESCAPE);
    expect(text).not.toContain('\r');
    expect(text).toContain('Failed: SlowDown in ADD_OBJECT');
  });

  it('is the same in a terminal, in colour', () => {
    vi.stubEnv('TERM', 'xterm-256color');
    // Node takes no colours to be wanted there.
    vi.stubEnv('CI', undefined);
    const { text } = reportOf([FAILED], { columns: 120 });
    expect(text).toContain(`${ESCAPE}[31m`);
    const plain = stripVTControlCharacters(text).replaceAll(/.*\r/g, '');
    expect(plain).toBe(reportOf([FAILED]).text);
  });

  it('stays plain in a terminal when colours are not wanted', () => {
    vi.stubEnv('NO_COLOR', '1');
    expect(reportOf([FAILED], { columns: 120 }).text).not.toContain(`${ESCAPE}[3`);
  });

  it('has a waterfall for each of a few targets, and then only for those that did not pass', () => {
    const waterfalls = (results: readonly RunResult[]): number =>
      reportOf(results).lines.filter((line) => line.includes('  bucket ')).length;
    expect(waterfalls([runResult(), runResult(), FAILED])).toBe(3);
    expect(waterfalls([runResult(), runResult(), runResult(), FAILED])).toBe(1);
    expect(
      reportOf([runResult(), runResult(), runResult(), FAILED]).text.match(/^(Passed|Failed)/gm),
    ).toEqual(['Passed', 'Passed', 'Passed', 'Failed']);
  });

  it('has a line for each run of a series, the patterns, and the waterfall of the last', () => {
    const { lines } = reportOf([runResult(), FAILED, runResult()], { runsPerTarget: 3 });
    expect(lines.slice(0, 3)).toEqual([
      '12:00:00  my-minio  Passed   60.0 ms  trace 0af7651916cd43dd8448eb211c80319c',
      '12:00:00  my-minio  Failed   30.0 ms  trace 0af7651916cd43dd8448eb211c80319c  SlowDown in ADD_OBJECT',
      '12:00:00  my-minio  Passed   60.0 ms  trace 0af7651916cd43dd8448eb211c80319c',
    ]);
    expect(lines).toContain('Patterns of my-minio: 2 of 3 runs passed');
    expect(lines.at(-1)).toBe('Passed  my-minio  60.0 ms  trace 0af7651916cd43dd8448eb211c80319c');
  });

  it('says nothing of a series that was stopped before its first run', () => {
    expect(reportOf([], { runsPerTarget: 3 }).text).toBe('');
  });
});

describe('the line that says what goes on', () => {
  it('is written over and over, and cleared at the end', () => {
    const { report, output } = setUp({ columns: 80, runs: 2 });
    report.progress('my-minio', { began: 'CHECK_BUCKET' });
    report.progress('my-minio', { began: 'ADD_OBJECT' });
    expect(output.text.split(`\r${ESCAPE}[K`)).toEqual([
      '',
      'my-minio: run 1 of 2, step 1 of 6, check if bucket exist…',
      'my-minio: run 1 of 2, step 3 of 6, add created object to bucket…',
    ]);
    report.end();
    expect(output.text.endsWith(`\r${ESCAPE}[K`)).toBe(true);
  });

  it('never runs over the edge of the terminal', () => {
    const { report, output } = setUp({ columns: 20 });
    report.progress('my-minio', { began: 'ADD_OBJECT' });
    expect(stripVTControlCharacters(output.text).trim()).toBe('my-minio: step 3 of');
  });

  it('is not there outside a terminal', () => {
    const { report, output } = setUp();
    report.progress('my-minio', { began: 'ADD_OBJECT' });
    report.end();
    expect(output.text).toBe('');
  });
});
