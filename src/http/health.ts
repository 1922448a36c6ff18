import type { Clock } from '../clock/clock.ts';
import type { HttpHandler } from './server.ts';

export interface HealthCheck {
  readonly name: string;
  /** @returns what is wrong, on one line. */
  readonly check: () => string | undefined;
}

/**
 * Answers 200, or 500 and the list of checks when one of them fails; with `?verbose` always the list.
 *
 * Source: Kubernetes documentation, "Kubernetes API health endpoints".
 *
 * @param name for example `readyz`.
 */
export function healthHandler(name: string, checks: readonly HealthCheck[]): HttpHandler {
  return ({ query }) => {
    const faults = checks.map(({ check }) => check());
    const healthy = faults.every((fault) => fault === undefined);
    const lines = checks.map((check, index) => {
      const fault = faults[index];
      return fault === undefined ? `[+]${check.name} ok` : `[-]${check.name} failed: ${fault}`;
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
  /** When there was progress last, by the monotonic clock; `undefined` while none is due, as on a standby. */
  readonly lastProgressMs: () => number | undefined;
  readonly maxAgeMs: number;
}

/** That a loop still turns. */
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
  /** Of `perf_hooks.monitorEventLoopDelay`, enabled: the longest delay in ns, since it was reset. */
  readonly delay: { readonly max: number; reset(): void };
  readonly maxDelayMs: number;
}

/** That the event loop was not held up for long since the check before. */
export function eventLoopCheck({ delay, maxDelayMs }: EventLoopCheckOptions): HealthCheck {
  return {
    name: 'event-loop',
    check: () => {
      const delayMs = delay.max / 1e6;
      delay.reset();
      return delayMs > maxDelayMs ? `was held up for ${Math.round(delayMs / 1_000)} s` : undefined;
    },
  };
}

/** That something has happened which must happen once, such as the first list of a cache. */
export function doneCheck(name: string, isDone: () => boolean): HealthCheck {
  return { name, check: () => (isDone() ? undefined : 'not yet') };
}
