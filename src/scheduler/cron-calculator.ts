import { Cron } from 'croner';

import { type Gap, MidnightGaps } from './midnight-gaps.ts';

const MINUTE_MS = 60_000;
/** Longest time between two due times: `0 0 29 2 *` around the year 2100, which is no leap year. */
const MAX_PERIOD_MS = 8 * 366 * 86_400_000;

/** Finds the due times of a cron expression in a time zone. `timetableFor` states the rules for clock changes. */
export class CronCalculator {
  readonly #cron: Cron;
  /** For an expression whose skipped times are due right after the skip. */
  readonly #skipped: { readonly gaps: MidnightGaps; readonly local: Cron } | undefined;

  /** @throws for an expression or time zone that the API schema would have rejected. */
  constructor(expression: string, timezone: string) {
    this.#cron = new Cron(expression, {
      paused: true,
      timezone,
      mode: '5-part',
      fixedTimeRule: 'no-wildcard',
    });
    if (!isFixedTime(expression)) return;
    const local = new Cron(expression, { paused: true, timezone: 'UTC', mode: '5-part' });
    this.#skipped = { gaps: new MidnightGaps(timezone), local };
  }

  /** The last due time at or before `atMs`, or -Infinity. */
  latestMs(atMs: number): number {
    // previousRuns() excludes the time that it is given.
    const [latest] = this.#cron.previousRuns(1, new Date(Math.floor(atMs) + 1));
    if (latest === undefined) return -Infinity;
    const latestMs = latest.getTime();
    return this.#skippedBetween(latestMs, atMs).at(-1)?.atMs ?? latestMs;
  }

  /** The first due time after `atMs`, or Infinity. */
  nextMs(atMs: number): number {
    const nextMs = this.#nextUnskippedMs(atMs);
    return this.#skippedBetween(atMs, nextMs)[0]?.atMs ?? nextMs;
  }

  #nextUnskippedMs(atMs: number): number {
    for (let fromMs = atMs; ; fromMs += MINUTE_MS) {
      const nextMs = this.#cron.nextRun(new Date(fromMs))?.getTime() ?? Infinity;
      // A result that is not after `atMs` would make the scheduler loop without sleeping.
      if (nextMs > atMs) return nextMs;
    }
  }

  /** Gaps after `afterMs`, up to and including `untilMs`, in which a due time was skipped. */
  #skippedBetween(afterMs: number, untilMs: number): Gap[] {
    if (this.#skipped === undefined || untilMs - afterMs > MAX_PERIOD_MS) return [];
    const { gaps, local } = this.#skipped;
    return gaps.between(afterMs, untilMs).filter(({ fromLocalMs, toLocalMs }) => {
      const due = local.nextRun(new Date(fromLocalMs - 1));
      return due !== null && due.getTime() < toLocalMs;
    });
  }
}

/** Croner's rule `no-wildcard`. */
function isFixedTime(expression: string): boolean {
  const [minute = '', hour = ''] = expression.trim().split(/\s+/);
  return [minute, hour].every((field) => /^[\d,-]+$/.test(field));
}
