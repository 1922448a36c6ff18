import { expect, it } from 'vitest';
import { TIME_ZONES } from './time-zones.ts';

it('holds all zones that Node lists', () => {
  expect(TIME_ZONES).toStrictEqual(expect.arrayContaining(Intl.supportedValuesOf('timeZone')));
});

it.each(TIME_ZONES)('Node knows %s', (timeZone) => {
  expect(() => new Intl.DateTimeFormat('en', { timeZone })).not.toThrow();
});
