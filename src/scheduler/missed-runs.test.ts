import { describe, expect, it } from 'vitest';

import { missedRuns } from './missed-runs.ts';
import { timetableFor } from './next-due.ts';

const NOON_MS = Date.UTC(2026, 10, 22, 12);
const ENTRY = { key: 'a', group: 'storage', seed: 'uid' };
const MINUTE_MS = 60_000;

describe('missed runs of a 10-minute interval that was due 4 minutes ago', () => {
  const schedule = { intervalMs: 10 * MINUTE_MS };
  const timetable = timetableFor(schedule, ENTRY.seed);
  const dueMs = timetable(NOON_MS).latestMs;
  const nowMs = dueMs + 4 * MINUTE_MS;

  it.each([
    { name: 'misses nothing if it never ran', want: [0, false] },
    { name: 'misses nothing if the last start was after the due time', last: 0.1, want: [0, false] },
    { name: 'misses nothing if the last start was exactly at the due time', last: 0, want: [0, false] },
    { name: 'misses nothing if the recorded start is in the future', last: 9, want: [0, false] },
    { name: 'catches up on one missed run', last: -9.9, want: [0, true] },
    {
      name: 'catches up on one run if the last start was exactly one period earlier',
      last: -10,
      want: [0, true],
    },
    { name: 'catches up on the latest of four missed runs', last: -39.9, want: [3, true] },
    {
      name: 'catches up on none of four runs past the starting deadline',
      last: -39.9,
      deadline: 3,
      want: [4, false],
    },
    { name: 'catches up within the starting deadline', last: -9.9, deadline: 4, want: [0, true] },
    { name: 'ignores staleness shorter than the period', last: -9.9, staleness: 1, want: [0, true] },
  ])('$name', ({ last, deadline, staleness, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      ...(last === undefined ? {} : { lastStartMs: dueMs + last * MINUTE_MS }),
      ...(deadline === undefined ? {} : { startingDeadlineMs: deadline * MINUTE_MS }),
      ...(staleness === undefined ? {} : { lastStartStalenessMs: staleness * MINUTE_MS }),
    };
    const { missed, shouldCatchUp } = missedRuns(entry, timetable, nowMs);
    expect([missed, shouldCatchUp]).toEqual(want);
  });
});

describe('missed runs of a 10 s interval whose recorded start may be 60 s stale', () => {
  const schedule = { intervalMs: 10_000 };
  const timetable = timetableFor(schedule, ENTRY.seed);
  const dueMs = timetable(NOON_MS).latestMs;

  it.each([
    { name: 'counts runs within the staleness as started', lastS: -69, want: [0, false] },
    { name: 'counts runs up to one period beyond the staleness as started', lastS: -70, want: [0, false] },
    { name: 'catches up on a run that cannot have started', lastS: -70.1, want: [1, true] },
    { name: 'counts only runs that cannot have started', lastS: -159.9, want: [9, true] },
  ])('$name', ({ lastS, want }) => {
    const entry = { ...ENTRY, schedule, lastStartMs: dueMs + lastS * 1_000, lastStartStalenessMs: 60_000 };
    const { missed, shouldCatchUp } = missedRuns(entry, timetable, dueMs + 5_000);
    expect([missed, shouldCatchUp]).toEqual(want);
  });
});

describe('missed runs of a 10 s interval if the previous scheduler left startedUntilMs', () => {
  const schedule = { intervalMs: 10_000 };
  const timetable = timetableFor(schedule, ENTRY.seed);
  const dueMs = timetable(NOON_MS).latestMs;

  it.each([
    { name: 'trusts startedUntilMs over an older recorded start', untilS: 0, lastS: -69, want: [0, false] },
    { name: 'catches up on a due time after startedUntilMs', untilS: -0.1, lastS: -5, want: [0, true] },
    {
      name: 'catches up on the latest of several due times after startedUntilMs',
      untilS: -25,
      lastS: -69,
      want: [2, true],
    },
    { name: 'misses nothing if a later start is recorded', untilS: -25, lastS: 0, want: [0, false] },
    { name: 'misses nothing if it never ran', untilS: -25, want: [0, false] },
  ])('$name', ({ untilS, lastS, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      lastStartStalenessMs: 60_000,
      startedUntilMs: dueMs + untilS * 1_000,
      ...(lastS === undefined ? {} : { lastStartMs: dueMs + lastS * 1_000 }),
    };
    const { missed, shouldCatchUp } = missedRuns(entry, timetable, dueMs + 5_000);
    expect([missed, shouldCatchUp]).toEqual(want);
  });
});

describe('missed runs of a cron schedule', () => {
  const schedule = { cron: '0 9 * * *', timeZone: 'UTC' };
  const timetable = timetableFor(schedule, ENTRY.seed);

  it.each([
    { name: 'catches up within 10 minutes by default', at: '09:10', want: [0, true] },
    { name: 'does not catch up after 10 minutes by default', at: '09:11', want: [1, false] },
    {
      name: 'catches up later with a longer starting deadline',
      at: '15:00',
      deadline: 6 * 60,
      want: [0, true],
    },
  ])('$name', ({ at, deadline, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      lastStartMs: Date.parse('2026-11-21T09:00:00.100Z'),
      ...(deadline === undefined ? {} : { startingDeadlineMs: deadline * MINUTE_MS }),
    };
    const { missed, shouldCatchUp } = missedRuns(entry, timetable, Date.parse(`2026-11-22T${at}Z`));
    expect([missed, shouldCatchUp]).toEqual(want);
  });

  it('misses nothing if it is never due', () => {
    const never = timetableFor({ cron: '0 0 30 2 *', timeZone: 'UTC' }, '');
    expect(missedRuns({ ...ENTRY, schedule, lastStartMs: 0 }, never, NOON_MS)).toEqual({
      missed: 0,
      shouldCatchUp: false,
    });
  });
});
