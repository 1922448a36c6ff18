import { diag, type DiagLogger, DiagLogLevel } from '@opentelemetry/api';

import { oneLine } from '../api/one-line.ts';

export type DiagnosticLevel = 'error' | 'warn' | 'info' | 'debug';
export type WriteDiagnostic = (level: DiagnosticLevel, message: string) => void;

/**
 * Passes OpenTelemetry's own messages, such as "queue full" or "invalid setting", to `write`. Without this, they are
 * lost.
 */
export function captureDiagnostics(write: WriteDiagnostic, level = DiagLogLevel.WARN): void {
  diag.setLogger(new DiagnosticLogger(write), { logLevel: level, suppressOverrideMessage: true });
}

class DiagnosticLogger implements DiagLogger {
  readonly #write: WriteDiagnostic;

  constructor(write: WriteDiagnostic) {
    this.#write = write;
  }

  error(message: string, ...details: unknown[]): void {
    this.#write('error', format(message, details));
  }

  warn(message: string, ...details: unknown[]): void {
    this.#write('warn', format(message, details));
  }

  info(message: string, ...details: unknown[]): void {
    this.#write('info', format(message, details));
  }

  debug(message: string, ...details: unknown[]): void {
    this.#write('debug', format(message, details));
  }

  verbose(message: string, ...details: unknown[]): void {
    this.#write('debug', format(message, details));
  }
}

/** Objects are left out: they may be whole batches of spans, or settings with credentials. */
function format(message: string, details: readonly unknown[]): string {
  const texts = details.flatMap((detail) => {
    if (detail instanceof Error) return [detail.message];
    return typeof detail === 'string' || typeof detail === 'number' ? [String(detail)] : [];
  });
  return oneLine([message, ...texts].join(' '));
}
