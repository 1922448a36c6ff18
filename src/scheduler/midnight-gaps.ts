const DAY_MS = 86_400_000;
/** Short enough that no zone changes its offset twice in between. */
const SCAN_STEP_MS = 7 * DAY_MS;
const MAX_CACHED_YEARS = 100;

/** A skip of local time: the clocks go forward. */
export interface Gap {
  /** The instant of the skip. */
  readonly atMs: number;
  /** The first skipped local time, as if it were in UTC. */
  readonly fromLocalMs: number;
  /** The local time right after the skip, as if it were in UTC. */
  readonly toLocalMs: number;
}

/**
 * The gaps of a time zone that start on one date and end on the next. Nuuk, for example, goes from 23:00 to 00:00.
 * Croner finds no due time inside such a gap.
 */
export class MidnightGaps {
  readonly #format: Intl.DateTimeFormat;
  readonly #byYear = new Map<number, readonly Gap[]>();

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** The gaps after `afterMs`, up to and including `untilMs`, in order. */
  between(afterMs: number, untilMs: number): Gap[] {
    const gaps: Gap[] = [];
    const lastYear = new Date(untilMs).getUTCFullYear();
    for (let year = new Date(afterMs).getUTCFullYear(); year <= lastYear; year += 1) {
      gaps.push(...this.#inYear(year).filter(({ atMs }) => atMs > afterMs && atMs <= untilMs));
    }
    return gaps;
  }

  #inYear(year: number): readonly Gap[] {
    const cached = this.#byYear.get(year);
    if (cached !== undefined) return cached;
    if (this.#byYear.size >= MAX_CACHED_YEARS) this.#byYear.clear();
    const gaps = this.#scan(Date.UTC(year, 0), Date.UTC(year + 1, 0)).filter(crossesMidnight);
    this.#byYear.set(year, gaps);
    return gaps;
  }

  #scan(startMs: number, endMs: number): Gap[] {
    const gaps: Gap[] = [];
    for (let fromMs = startMs; fromMs < endMs; fromMs += SCAN_STEP_MS) {
      const toMs = Math.min(fromMs + SCAN_STEP_MS, endMs);
      const before = this.#offsetMs(fromMs);
      const after = this.#offsetMs(toMs);
      if (after <= before) continue;
      const atMs = this.#changeAfter(fromMs, toMs);
      gaps.push({ atMs, fromLocalMs: atMs + before, toLocalMs: atMs + after });
    }
    return gaps;
  }

  /** The first whole second after `fromMs` with a different offset. The offset at `toMs` must be different. */
  #changeAfter(fromMs: number, toMs: number): number {
    const before = this.#offsetMs(fromMs);
    let lowS = fromMs / 1_000;
    let highS = toMs / 1_000;
    while (highS - lowS > 1) {
      const middleS = Math.floor((lowS + highS) / 2);
      if (this.#offsetMs(middleS * 1_000) === before) lowS = middleS;
      else highS = middleS;
    }
    return highS * 1_000;
  }

  /** Local time minus UTC. */
  #offsetMs(atMs: number): number {
    const values = new Map(this.#format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]));
    const [year = 0, month = 0, ...rest] = (
      ['year', 'month', 'day', 'hour', 'minute', 'second'] as const
    ).map((type) => values.get(type) ?? 0);
    return Date.UTC(year, month - 1, ...rest) - atMs;
  }
}

function crossesMidnight({ fromLocalMs, toLocalMs }: Gap): boolean {
  return Math.floor(fromLocalMs / DAY_MS) !== Math.floor(toLocalMs / DAY_MS);
}
