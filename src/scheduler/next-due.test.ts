import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { timetableFor } from './next-due.ts';

const EPOCHS_MS = fc.integer({ min: Date.UTC(2025, 0, 1), max: Date.UTC(2031, 0, 1) });
const NEAR_DST_CHANGES_MS = fc
  .tuple(
    fc.constantFrom(
      '2026-03-29T01:00Z',
      '2026-10-25T01:00Z',
      '2026-03-08T07:00Z',
      '2026-11-01T06:00Z',
      '2026-04-04T15:00Z',
      '2026-10-03T15:30Z',
    ),
    fc.integer({ min: -3 * 3_600_000, max: 3 * 3_600_000 }),
  )
  .map(([change, offsetMs]) => Date.parse(change) + offsetMs);

describe('an interval', () => {
  it('is due at multiples of the interval plus an offset', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 86_400_000 }),
        fc.string(),
        EPOCHS_MS,
        (intervalMs, seed, atMs) => {
          const timetable = timetableFor({ intervalMs }, seed);
          const { latestMs, nextMs } = timetable(atMs);
          expect(latestMs).toBeLessThanOrEqual(atMs);
          expect(nextMs).toBeGreaterThan(atMs);
          expect(nextMs - latestMs).toBe(intervalMs);
          expect(timetable(nextMs)).toEqual({ latestMs: nextMs, nextMs: nextMs + intervalMs });
          expect(timetableFor({ intervalMs }, seed)(nextMs + 10 * intervalMs).latestMs).toBe(
            nextMs + 10 * intervalMs,
          );
        },
      ),
    );
  });

  it('spreads the offsets of different seeds evenly', () => {
    const tenths = Array.from({ length: 10 }, () => 0);
    for (let seed = 0; seed < 10_000; seed += 1) {
      const offsetMs = timetableFor({ intervalMs: 30_000 }, `uid-${seed}`)(0).nextMs % 30_000;
      const tenth = Math.floor(offsetMs / 3_000);
      tenths[tenth] = (tenths[tenth] ?? 0) + 1;
    }
    expect(Math.min(...tenths)).toBeGreaterThan(850);
    expect(Math.max(...tenths)).toBeLessThan(1_150);
  });
});

/** The first `count` due times after `from`, as month, day, hour and minute in UTC. */
function dueTimes(cron: string, timeZone: string, from: string, count: number): string[] {
  const timetable = timetableFor({ cron, timeZone }, '');
  const times: string[] = [];
  for (let atMs = Date.parse(from); times.length < count;) {
    atMs = timetable(atMs).nextMs;
    times.push(new Date(atMs).toISOString().slice(5, 16));
  }
  return times;
}

describe('cron', () => {
  it.each([
    // Berlin skips from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
    { cron: '30 2 * * *', from: '2026-03-28T12:00Z', want: ['03-29T01:00', '03-30T00:30'] },
    { cron: '0 2 * * *', from: '2026-03-28T12:00Z', want: ['03-29T01:00', '03-30T00:00'] },
    { cron: '0 2,3 * * *', from: '2026-03-28T12:00Z', want: ['03-29T01:00', '03-30T00:00', '03-30T01:00'] },
    { cron: '30 * * * *', from: '2026-03-29T00:00Z', want: ['03-29T00:30', '03-29T01:30', '03-29T02:30'] },
    { cron: '*/30 2 * * *', from: '2026-03-28T12:00Z', want: ['03-30T00:00', '03-30T00:30'] },
    // Berlin goes back from 03:00 to 02:00 on 25 October 2026, at 01:00 UTC.
    { cron: '30 2 * * *', from: '2026-10-24T12:00Z', want: ['10-25T00:30', '10-26T01:30'] },
    { cron: '30 2,4 * * *', from: '2026-10-24T12:00Z', want: ['10-25T00:30', '10-25T03:30', '10-26T01:30'] },
    { cron: '30 * * * *', from: '2026-10-25T00:00Z', want: ['10-25T00:30', '10-25T01:30', '10-25T02:30'] },
  ])('$cron in Berlin from $from', ({ cron, from, want }) => {
    expect(dueTimes(cron, 'Europe/Berlin', from, want.length)).toEqual(want);
  });

  it.each([
    // New York shifts by an hour: from 02:00 to 03:00 on 8 March 2026 (07:00 UTC), and from 02:00 back to 01:00 on 1
    // November (06:00 UTC).
    {
      zone: 'America/New_York',
      cron: '30 2 * * *',
      from: '2026-03-08T05:00Z',
      want: ['03-08T07:00', '03-09T06:30'],
    },
    {
      zone: 'America/New_York',
      cron: '30 1 * * *',
      from: '2026-11-01T04:00Z',
      want: ['11-01T05:30', '11-02T06:30'],
    },
    {
      zone: 'America/New_York',
      cron: '30 * * * *',
      from: '2026-11-01T05:00Z',
      want: ['11-01T05:30', '11-01T06:30'],
    },
    // Lord Howe shifts by half an hour: from 02:00 to 02:30 on 4 October 2026 (15:30 UTC on 3 October), and from 02:00
    // back to 01:30 on 5 April (15:00 UTC on 4 April).
    {
      zone: 'Australia/Lord_Howe',
      cron: '15 2 * * *',
      from: '2026-10-03T12:00Z',
      want: ['10-03T15:30', '10-04T15:15'],
    },
    {
      zone: 'Australia/Lord_Howe',
      cron: '45 1 * * *',
      from: '2026-04-04T12:00Z',
      want: ['04-04T14:45', '04-05T15:15'],
    },
    {
      zone: 'Australia/Lord_Howe',
      cron: '*/15 * * * *',
      from: '2026-04-04T14:40Z',
      want: ['04-04T14:45', '04-04T15:00', '04-04T15:15', '04-04T15:30'],
    },
    // Nuuk goes from 23:00 on 28 March 2026 to 00:00 on 29 March, at 01:00 UTC.
    {
      zone: 'America/Nuuk',
      cron: '30 23 * * *',
      from: '2026-03-27T12:00Z',
      want: ['03-28T01:30', '03-29T01:00', '03-30T00:30'],
    },
    {
      zone: 'America/Nuuk',
      cron: '0,45 0,23 * * SAT',
      from: '2026-03-28T12:00Z',
      want: ['03-29T01:00', '04-04T01:00'],
    },
    {
      zone: 'America/Nuuk',
      cron: '*/30 23 * * *',
      from: '2026-03-28T12:00Z',
      want: ['03-30T00:00', '03-30T00:30'],
    },
    { zone: 'UTC', cron: '0 9 * * MON-FRI', from: '2026-11-20T12:00Z', want: ['11-23T09:00', '11-24T09:00'] },
    { zone: 'UTC', cron: '0 0 29 2 *', from: '2026-11-20T12:00Z', want: ['02-29T00:00'] },
  ])('$cron in $zone from $from', ({ zone, cron, from, want }) => {
    expect(dueTimes(cron, zone, from, want.length)).toEqual(want);
  });

  it('has a due time in each night in which the clocks of any zone go forward', () => {
    const weeks = Array.from({ length: 3 * 53 }, (_, week) => Date.UTC(2026, 0, 1 + 7 * week));
    const gaps = Intl.supportedValuesOf('timeZone').flatMap((timeZone) =>
      weeks.flatMap((fromMs) => forwardChange(timeZone, fromMs) ?? []),
    );
    expect(gaps.length).toBeGreaterThan(100);
    fc.assert(
      fc.property(fc.constantFrom(...gaps), fc.nat({ max: 1_440 }), (gap, minute) => {
        const { timeZone, atMs, fromLocalMs, toLocalMs } = gap;
        const skipped = new Date(fromLocalMs + ((minute * 60_000) % (toLocalMs - fromLocalMs)));
        const cron = `${skipped.getUTCMinutes()} ${skipped.getUTCHours()} * * *`;
        const timetable = timetableFor({ cron, timeZone }, '');
        expect([timetable(atMs - 1).nextMs, timetable(atMs).latestMs]).toEqual([atMs, atMs]);
      }),
      { numRuns: 1_000 },
    );
  }, 60_000);

  it('is never due on a date that does not exist', () => {
    expect(timetableFor({ cron: '0 0 30 2 *', timeZone: 'UTC' }, '')(Date.UTC(2026, 0))).toEqual({
      latestMs: -Infinity,
      nextMs: Infinity,
    });
  });

  it('returns due times without gaps, whatever the order of the queries', () => {
    const expression = fc
      .tuple(field(59), field(23), fc.constantFrom('*', '1', '28'), fc.constantFrom('*', '3', '10'))
      .map((fields) => `${fields.join(' ')} *`);
    const zone = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'UTC');
    const time = fc.oneof(EPOCHS_MS, NEAR_DST_CHANGES_MS);
    fc.assert(
      fc.property(
        expression,
        zone,
        fc.array(time, { minLength: 1, maxLength: 3 }),
        (cron, timeZone, times) => {
          const timetable = timetableFor({ cron, timeZone }, '');
          for (const atMs of times) {
            const { latestMs, nextMs } = timetable(atMs);
            expect(latestMs).toBeLessThanOrEqual(atMs);
            expect(nextMs).toBeGreaterThan(atMs);
            expect(timetable(nextMs).latestMs).toBe(nextMs);
            expect(timetable(latestMs)).toEqual({ latestMs, nextMs });
            expect(timetable(nextMs - 1)).toEqual({ latestMs, nextMs });
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

interface ForwardChange {
  readonly timeZone: string;
  readonly atMs: number;
  readonly fromLocalMs: number;
  readonly toLocalMs: number;
}

/** The skip of local time in the week from `fromMs`. */
function forwardChange(timeZone: string, fromMs: number): ForwardChange | undefined {
  const format = localFormat(timeZone);
  const localMs = (atMs: number): number => Date.parse(`${format.format(atMs).replace(' ', 'T')}Z`);
  const weekMs = 7 * 86_400_000;
  if (localMs(fromMs + weekMs) - localMs(fromMs) <= weekMs) return undefined;
  let beforeMs = fromMs;
  for (const stepMs of [86_400_000, 3_600_000, 900_000, 60_000]) {
    while (localMs(beforeMs + stepMs) - localMs(beforeMs) <= stepMs) beforeMs += stepMs;
  }
  const atMs = beforeMs + 60_000;
  return { timeZone, atMs, fromLocalMs: localMs(beforeMs) + 60_000, toLocalMs: localMs(atMs) };
}

const localFormats = new Map<string, Intl.DateTimeFormat>();

function localFormat(timeZone: string): Intl.DateTimeFormat {
  const format =
    localFormats.get(timeZone) ??
    new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  localFormats.set(timeZone, format);
  return format;
}

function field(max: number): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 2, max }).map((step) => `*/${step}`),
    fc.integer({ min: 1, max }).map(String),
    fc.integer({ min: 1, max: max - 1 }).map((from) => `${from},${from + 1}`),
  );
}
