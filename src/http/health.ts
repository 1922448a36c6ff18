import type { Clock } from '../clock/clock.ts';
import type { HttpHandler } from './server.ts';

export interface HealthCheck {
  readonly name: string;
  /** @returns a one-line error, or undefined if the check passes. */
  readonly check: () => string | undefined;
}

/**
 * Responds with 200 or, if a check fails, with 500 and the list of checks. With `?verbose`, the list is always
 * included.
 *
 * Source: Kubernetes documentation, "Kubernetes API health endpoints".
 *
 * @param name for example `readyz`.
 */
export function healthHandler(name: string, checks: readonly HealthCheck[]): HttpHandler {
  return ({ query }) => {
    const errors = checks.map(({ check }) => check());
    const healthy = errors.every((error) => error === undefined);
    const lines = checks.map((check, index) => {
      const error = errors[index];
      return error === undefined ? `[+]${check.name} ok` : `[-]${check.name} failed: ${error}`;
    });
    lines.push(`${name} check ${healthy ? 'passed' : 'failed'}`);
    return {
      status: healthy ? 200 : 500,
      contentType: 'text/plain; charset=utf-8',
      body: healthy && !query.has('verbose') ? 'ok' : `${lines.join('\n')}\n`,
    };
  };
}

export interface ProgressCheckOptions {
  readonly clock: Clock;
  /** Monotonic time of the last progress. Undefined while no progress is expected, as on a standby. */
  readonly lastProgressMs: () => number | undefined;
  readonly maxAgeMs: number;
}

/** Fails if a loop has made no progress for longer than `maxAgeMs`. */
export function progressCheck(name: string, options: ProgressCheckOptions): HealthCheck {
  const { clock, lastProgressMs, maxAgeMs } = options;
  return {
    name,
    check: () => {
      const lastMs = lastProgressMs();
      if (lastMs === undefined) return undefined;
      const ageMs = clock.monotonicMs() - lastMs;
      return ageMs > maxAgeMs ? `no progress for ${Math.round(ageMs / 1_000)} s` : undefined;
    },
  };
}

export interface EventLoopCheckOptions {
  /** An enabled `perf_hooks.monitorEventLoopDelay`. `max` is the longest delay since the last reset, in ns. */
  readonly delay: { readonly max: number; reset(): void };
  readonly maxDelayMs: number;
}

/** Fails if the event loop was blocked for longer than `maxDelayMs` since the previous check. */
export function eventLoopCheck({ delay, maxDelayMs }: EventLoopCheckOptions): HealthCheck {
  return {
    name: 'event-loop',
    check: () => {
      const delayMs = delay.max / 1e6;
      delay.reset();
      return delayMs > maxDelayMs ? `blocked for ${Math.round(delayMs / 1_000)} s` : undefined;
    },
  };
}

/** Fails until a one-time condition is met, such as the initial sync of a cache. */
export function readyCheck(name: string, isReady: () => boolean): HealthCheck {
  return { name, check: () => (isReady() ? undefined : 'not ready') };
}
