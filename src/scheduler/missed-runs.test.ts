import { describe, expect, it } from 'vitest';

import { missedRuns } from './missed-runs.ts';
import { timetable } from './next-due.ts';

const NOON_MS = Date.UTC(2026, 10, 22, 12);
const ENTRY = { key: 'a', group: 'storage', seed: 'uid' };
const MINUTE_MS = 60_000;

describe('with an interval of 10 minutes that fell due 4 minutes ago', () => {
  const schedule = { intervalMs: 10 * MINUTE_MS };
  const around = timetable(schedule, ENTRY.seed);
  const dueMs = around(NOON_MS).latestMs;
  const nowMs = dueMs + 4 * MINUTE_MS;

  it.each([
    { name: 'nothing when it never ran', want: [0, false] },
    { name: 'nothing when the run was made', last: 0.1, want: [0, false] },
    { name: 'nothing when the run was made on the dot', last: 0, want: [0, false] },
    { name: 'nothing when a later start is recorded', last: 9, want: [0, false] },
    { name: 'one run to catch up on', last: -9.9, want: [0, true] },
    { name: 'the latest of several', last: -10, want: [0, true] },
    { name: 'the latest of four', last: -39.9, want: [3, true] },
    { name: 'all of four that are too late', last: -39.9, deadline: 3, want: [4, false] },
    { name: 'none too late within the deadline', last: -9.9, deadline: 4, want: [0, true] },
    { name: 'no slack for periods longer than that', last: -9.9, slack: 1, want: [0, true] },
  ])('$name', ({ last, deadline, slack, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      ...(last === undefined ? {} : { lastStartMs: dueMs + last * MINUTE_MS }),
      ...(deadline === undefined ? {} : { startingDeadlineMs: deadline * MINUTE_MS }),
      ...(slack === undefined ? {} : { lastStartSlackMs: slack * MINUTE_MS }),
    };
    const { missed, catchUp } = missedRuns(entry, around, nowMs);
    expect([missed, catchUp]).toEqual(want);
  });
});

describe('with an interval of 10 s and records up to 60 s old', () => {
  const schedule = { intervalMs: 10_000 };
  const around = timetable(schedule, ENTRY.seed);
  const dueMs = around(NOON_MS).latestMs;

  it.each([
    { name: 'presumes runs within the slack made', lastS: -69, want: [0, false] },
    { name: 'and one period beyond', lastS: -70, want: [0, false] },
    { name: 'catches up on what cannot have been made', lastS: -70.1, want: [1, true] },
    { name: 'counts only what cannot have been made', lastS: -159.9, want: [9, true] },
  ])('$name', ({ lastS, want }) => {
    const entry = { ...ENTRY, schedule, lastStartMs: dueMs + lastS * 1_000, lastStartSlackMs: 60_000 };
    const { missed, catchUp } = missedRuns(entry, around, dueMs + 5_000);
    expect([missed, catchUp]).toEqual(want);
  });
});

describe('with an interval of 10 s, and word of up to when another scheduler met all due times', () => {
  const schedule = { intervalMs: 10_000 };
  const around = timetable(schedule, ENTRY.seed);
  const dueMs = around(NOON_MS).latestMs;

  it.each([
    { name: 'takes its word, whatever is recorded', untilS: 0, lastS: -69, want: [0, false] },
    { name: 'catches up on what came after', untilS: -0.1, lastS: -5, want: [0, true] },
    { name: 'on the latest of them', untilS: -25, lastS: -69, want: [2, true] },
    { name: 'but for what is recorded', untilS: -25, lastS: 0, want: [0, false] },
    { name: 'nothing when it never ran', untilS: -25, want: [0, false] },
  ])('$name', ({ untilS, lastS, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      lastStartSlackMs: 60_000,
      startedUntilMs: dueMs + untilS * 1_000,
      ...(lastS === undefined ? {} : { lastStartMs: dueMs + lastS * 1_000 }),
    };
    const { missed, catchUp } = missedRuns(entry, around, dueMs + 5_000);
    expect([missed, catchUp]).toEqual(want);
  });
});

describe('with cron', () => {
  const schedule = { cron: '0 9 * * *', timeZone: 'UTC' };
  const around = timetable(schedule, ENTRY.seed);

  it.each([
    { name: 'catches up within 10 minutes', at: '09:10', want: [0, true] },
    { name: 'leaves it after 10 minutes', at: '09:11', want: [1, false] },
    { name: 'is told to catch up later', at: '15:00', deadline: 6 * 60, want: [0, true] },
  ])('$name', ({ at, deadline, want }) => {
    const entry = {
      ...ENTRY,
      schedule,
      lastStartMs: Date.parse('2026-11-21T09:00:00.100Z'),
      ...(deadline === undefined ? {} : { startingDeadlineMs: deadline * MINUTE_MS }),
    };
    const { missed, catchUp } = missedRuns(entry, around, Date.parse(`2026-11-22T${at}Z`));
    expect([missed, catchUp]).toEqual(want);
  });

  it('has missed nothing when it is never due', () => {
    const never = timetable({ cron: '0 0 30 2 *', timeZone: 'UTC' }, '');
    expect(missedRuns({ ...ENTRY, schedule, lastStartMs: 0 }, never, NOON_MS)).toEqual({
      missed: 0,
      catchUp: false,
    });
  });
});
