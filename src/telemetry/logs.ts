import { type DestinationStream, type Logger, pino } from 'pino';

import { toMicroseconds } from '../api/microseconds.ts';
import type { RunResult } from '../api/run.ts';

/** What no log line may hold, wherever it stands: a second fence, since secrets never reach the logger. */
const SECRET_PATHS = ['accessKey', 'secretKey', 'sessionToken', 'credentials', 'authorization'];

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function createLogger(level: LogLevel, destination: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_PATHS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: '[redacted]' },
    },
    destination,
  );
}

/** The one line of a run, tied to its trace by the names that OpenTelemetry gives to these fields. */
export function logRun(log: Logger, result: RunResult): void {
  const {
    probe,
    target,
    runId,
    traceId,
    spanId,
    verdict,
    reason,
    failedStep,
    message,
    durationMs,
    leftBehind,
  } = result;
  const fields = {
    trace_id: traceId,
    span_id: spanId,
    probe: `${probe.namespace}/${probe.name}`,
    target,
    runId,
    verdict,
    durationMs: toMicroseconds(durationMs),
    ...(reason !== undefined && { reason, failedStep, error: message }),
    ...(leftBehind.length > 0 && { leftBehind }),
  };
  if (verdict === 'Passed') log.info(fields, 'run passed');
  else if (reason === 'Cancelled') log.info(fields, 'run was broken off');
  else log.warn(fields, 'run did not pass');
}
