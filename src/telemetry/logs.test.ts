import { describe, expect, it } from 'vitest';

import type { RunResult } from '../api/run.ts';
import { createLogger, LOG_LEVELS, type LogLevel, logRun } from './logs.ts';

const PASSED: RunResult = {
  runId: 'run-1',
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  probe: { namespace: 'storage', name: 'my-minio' },
  target: 'store-1',
  endpoint: 'http://store-1:9000',
  bucket: 'bucket',
  startTime: '2026-11-22T12:00:00.000Z',
  durationMs: 12.5,
  verdict: 'Passed',
  steps: [],
  leftBehind: [],
};

function loggerAt(level: LogLevel): { log: ReturnType<typeof createLogger>; lines: () => unknown[] } {
  let written = '';
  const log = createLogger(level, {
    write: (text) => {
      written += text;
    },
  });
  const lines = (): unknown[] =>
    written
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown);
  return { log, lines };
}

describe('the log line of a run', () => {
  it('contains the trace ID and the span ID', () => {
    const { log, lines } = loggerAt('info');
    logRun(log, PASSED);
    expect(lines()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
        trace_id: PASSED.traceId,
        span_id: PASSED.spanId,
        probe: 'storage/my-minio',
        target: 'store-1',
        runId: 'run-1',
        verdict: 'Passed',
        durationMs: 12.5,
        msg: 'run passed',
      },
    ]);
  });

  it.each(['Failed', 'Unknown'] as const)('gives the reason if the verdict is %s', (verdict) => {
    const { log, lines } = loggerAt('warn');
    logRun(log, {
      ...PASSED,
      verdict,
      reason: 'SlowDown',
      failedStep: 'ADD_OBJECT',
      message: 'PutObject: 503 SlowDown',
      leftBehind: ['bucket'],
    });
    logRun(log, PASSED);
    expect(lines()).toEqual([
      expect.objectContaining({
        level: 'warn',
        msg: 'run did not pass',
        verdict,
        reason: 'SlowDown',
        failedStep: 'ADD_OBJECT',
        error: 'PutObject: 503 SlowDown',
        leftBehind: ['bucket'],
      }),
    ]);
  });
});

it.each(LOG_LEVELS)('writes only lines of level %s and above', (level) => {
  const { log, lines } = loggerAt(level);
  for (const each of ['error', 'warn', 'info', 'debug'] as const) log[each](each);
  expect(lines()).toHaveLength(LOG_LEVELS.indexOf(level));
});

describe('redaction', () => {
  const SECRET = 'hunter2';
  it.each([
    { accessKey: SECRET },
    { secretKey: SECRET },
    { sessionToken: SECRET },
    { credentials: { accessKey: SECRET, other: SECRET } },
    { authorization: SECRET },
    { target: { secretKey: SECRET } },
    { target: { credentials: { secretKey: SECRET } } },
    { request: { target: { credentials: { secretKey: SECRET } } } },
    { request: { headers: { authorization: SECRET } } },
  ])('redacts %j', (fields) => {
    const { log, lines } = loggerAt('info');
    log.info({ ...fields, kept: 'kept' }, 'message');
    log.child(fields).info('from a child');
    expect(lines()).toHaveLength(2);
    expect(JSON.stringify(lines())).not.toContain(SECRET);
    expect(JSON.stringify(lines())).toContain('[redacted]');
    expect(lines()[0]).toHaveProperty('kept', 'kept');
  });
});
