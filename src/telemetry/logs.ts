import { type DestinationStream, type Logger, pino } from 'pino';

import { toMicroseconds } from '../api/microseconds.ts';
import type { RunResult } from '../api/run.ts';

/** Fields that are redacted, down to the third level. A second safeguard, because secrets never reach the logger. */
const SECRET_FIELDS = ['accessKey', 'secretKey', 'sessionToken', 'credentials', 'authorization'];

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function createLogger(level: LogLevel, destination: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
    },
    destination,
  );
}

/** Writes one line per run. OpenTelemetry's field names `trace_id` and `span_id` let log tools link to the trace. */
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
  else if (reason === 'Cancelled') log.info(fields, 'run cancelled');
  else log.warn(fields, 'run did not pass');
}
