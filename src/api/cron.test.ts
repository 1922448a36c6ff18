import { Cron } from 'croner';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CRON_PATTERN, cronFault } from './cron.ts';

function isAccepted(text: string): boolean {
  return CRON_PATTERN.test(text) && cronFault(text) === undefined;
}

function nextRun(text: string): Date | null {
  const cron = new Cron(text, { paused: true, timezone: 'UTC', mode: '5-part' });
  return cron.nextRun(new Date(Date.UTC(2026, 10, 22)));
}

describe('valid expressions', () => {
  it.each([
    '* * * * *',
    '*/5 * * * *',
    '0-59/60 */24 */31 */12 */7',
    '59 23 31 12 7',
    '00 01 09 02 0',
    '0   9  *  * 1-5',
    '0,15,30-45/5,*/20 0-6,22,23 * * *',
    '0 4 1-7 JAN,JUL MON-FRI/2',
    '0 4 * jan-Dec sun',
    '0 4 * * 0-7',
    '0 4 * * MON-SUN',
    '0 4 * * SUN-SAT',
    '0 0 29 2 *',
    '0 0 31 2,3 *',
    '0 0 30,31 2 MON',
  ])('accepts %s', (text) => {
    expect([CRON_PATTERN.test(text), cronFault(text)]).toEqual([true, undefined]);
    expect(nextRun(text)).not.toBeNull();
  });
});

describe('invalid expressions', () => {
  it.each([
    ['', 'has 1 field, not 5'],
    ['@hourly', 'has 1 field, not 5'],
    ['0 * * * * *', 'has 6 fields, not 5'],
    ['60 * * * *', 'has minute 60, which is not within 0-59'],
    ['0 24 * * *', 'has hour 24, which is not within 0-23'],
    ['0 0 0 * *', 'has day of month 0, which is not within 1-31'],
    ['0 0 L * *', 'has day of month L, which is not within 1-31'],
    ['0 0 * 13 *', 'has month 13, which is not within 1-12 or JAN-DEC'],
    ['0 0 * MON *', 'has month MON, which is not within 1-12 or JAN-DEC'],
    ['0 0 * * 8', 'has day of week 8, which is not within 0-7 or SUN-SAT'],
    ['0 0 * * MON,FRI#2', 'has day of week FRI#2, which is not within 0-7 or SUN-SAT'],
    ['1,70 * * * *', 'has minute 70, which is not within 0-59'],
    ['*/0 * * * *', 'has minute */0, whose step is not within 1-60'],
    ['*/61 * * * *', 'has minute */61, whose step is not within 1-60'],
    ['*/ * * * *', 'has minute */, whose step is not within 1-60'],
    ['5/10 * * * *', 'has minute 5/10, which has a step but no range (write */n or a-b/n)'],
    ['/10 * * * *', 'has minute /10, which has a step but no range (write */n or a-b/n)'],
    ['5, * * * *', 'has an empty item in the minute field'],
    ['30-10 * * * *', 'has minute 30-10, which runs backwards'],
    ['0 0 * * 5-1', 'has day of week 5-1, which runs backwards'],
    ['0 0 * * FRI-MON', 'has day of week FRI-MON, which runs backwards'],
    ['0 0 * nov-feb *', 'has month nov-feb, which runs backwards'],
    ['0 0 30 2 *', 'is never due: none of its months has such a day'],
    ['0 0 31,30 FEB *', 'is never due: none of its months has such a day'],
    ['0 0 31 apr,6,9,NOV,02 *', 'is never due: none of its months has such a day'],
  ])('rejects "%s": %s', (text, fault) => {
    expect(cronFault(text)).toBe(fault);
    expect(isAccepted(text)).toBe(false);
  });

  it.each([
    '005 * * * *',
    ' 0 0 * * *',
    '0 0 * * * ',
    '0\t0 * * *',
    '0 0 * * MON-5',
    '0 0 * * ſun',
    '*-5 * * * *',
    '1-2-3 * * * *',
    '1-2/3/4 * * * *',
  ])('rejects "%s", which does not match the pattern', (text) => {
    expect(CRON_PATTERN.test(text)).toBe(false);
  });
});

/** Values at and near the limits of the fields. */
const VALUE = fc.oneof(
  fc.integer({ min: 0, max: 61 }).map(String),
  fc.constantFrom('00', '07', 'JAN', 'feb', 'Dec', 'SUN', 'mon', 'SAT', '*'),
);
const ITEM = fc.oneof(
  { weight: 3, arbitrary: fc.constant('*') },
  { weight: 3, arbitrary: VALUE },
  fc.tuple(VALUE, VALUE).map((range) => range.join('-')),
  fc.tuple(VALUE, VALUE).map((step) => step.join('/')),
  fc.tuple(VALUE, VALUE, VALUE).map(([from, to, step]) => `${from}-${to}/${step}`),
);
const FIELD = fc.array(ITEM, { minLength: 1, maxLength: 2 }).map((items) => items.join(','));

it('rejects exactly the ranges that run backwards', () => {
  const minute = fc.tuple(fc.nat(59), fc.constantFrom(1, 2)).map(([value, digits]) => ({
    value,
    text: String(value).padStart(digits, '0'),
  }));
  fc.assert(
    fc.property(minute, minute, (from, to) => {
      expect(isAccepted(`${from.text}-${to.text} * * * *`)).toBe(from.value <= to.value);
    }),
    { numRuns: 2_000 },
  );
});

describe('compared with croner', () => {
  it.each([0, 1, 2, 3, 4])('accepts only what croner accepts in field %i', (position) => {
    fc.assert(
      fc.property(FIELD, (field) => {
        const text = ['*', '*', '*', '*', '*'].with(position, field).join(' ');
        expect(!isAccepted(text) || nextRun(text) !== undefined).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('rejects lists of days and months that croner finds never due', () => {
    const days = fc.uniqueArray(fc.constantFrom('29', '30', '31'), { minLength: 1 });
    const months = fc.uniqueArray(fc.constantFrom('1', '02', 'FEB', '3', '4', 'jun', '9', '11', 'DEC'), {
      minLength: 1,
    });
    fc.assert(
      fc.property(days, months, fc.constantFrom('*', 'MON'), (day, month, weekday) => {
        const text = `0 0 ${day.join(',')} ${month.join(',')} ${weekday}`;
        expect(isAccepted(text)).toBe(nextRun(text) !== null);
      }),
      { numRuns: 500 },
    );
  });
});
