import { matches } from './cel.ts';

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly maxStep: number;
  readonly names: readonly string[];
  /** The numbers from `min` to `max`, of one digit also with a zero before. */
  readonly number: string;
  readonly step: string;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const FIELDS: readonly Field[] = [
  {
    name: 'minute',
    min: 0,
    max: 59,
    maxStep: 60,
    names: [],
    number: '[0-5]?[0-9]',
    step: '0?[1-9]|[1-5][0-9]|60',
  },
  {
    name: 'hour',
    min: 0,
    max: 23,
    maxStep: 24,
    names: [],
    number: '[01]?[0-9]|2[0-3]',
    step: '0?[1-9]|1[0-9]|2[0-4]',
  },
  {
    name: 'day of month',
    min: 1,
    max: 31,
    maxStep: 31,
    names: [],
    number: '0?[1-9]|[12][0-9]|3[01]',
    step: '0?[1-9]|[12][0-9]|3[01]',
  },
  {
    name: 'month',
    min: 1,
    max: 12,
    maxStep: 12,
    names: MONTHS,
    number: '0?[1-9]|1[0-2]',
    step: '0?[1-9]|1[0-2]',
  },
  { name: 'day of week', min: 0, max: 7, maxStep: 7, names: WEEKDAYS, number: '0?[0-7]', step: '0?[1-7]' },
];

/**
 * Five fields, each a list of `*`, values and ranges, the first and last with an optional step. What it takes and
 * {@link cronFault} has nothing against, croner takes too.
 */
export const CRON_PATTERN = pattern(`^${FIELDS.map((field) => listOf(itemOf(field))).join(' +')}$`);

/** Only day 30 or 31 of months that lack it, given one by one; a list with ranges or steps may escape it. */
const NEVER_DUE = pattern(
  `^[^ ]+ +[^ ]+ +(${listOf('3[01]')} +${listOf('0?2|FEB')}|31(,31)* +${listOf('0?[2469]|11|FEB|APR|JUN|SEP|NOV')}) +\\*$`,
);

export const CRON_ACCEPTED =
  'five fields of *, values, ranges a-b, steps */n or a-b/n, and lists of those with commas: minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC, day of week 0-7 or SUN-SAT, for example "*/5 * * * *"';

/**
 * A range from a greater value to a lesser one. By expression, for CEL has no way to compare that its cost estimate
 * allows. A week may end with Sunday: MON-SUN is a range as good as SUN-SAT.
 */
const BACKWARDS = pattern(
  `(^|[ ,])(${[...backwardsNumbers(), ...backwardsNames(MONTHS), ...backwardsNames(WEEKDAYS.slice(1))].join('|')})([ ,/]|$)`,
);

/** That {@link cronFault} has nothing against a text that matches {@link CRON_PATTERN}. */
export const CRON_CEL = `!${matches(BACKWARDS)} && !${matches(NEVER_DUE)}`;

/** Why a text is no cron expression, as words that follow it. */
export function cronFault(text: string): string | undefined {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== FIELDS.length)
    return `has ${fields.length} ${fields.length === 1 ? 'field' : 'fields'}, not 5`;

  for (const [index, field] of FIELDS.entries()) {
    for (const item of (fields[index] ?? '').split(',')) {
      if (item === '') return `has an empty item in the list of its ${field.name}`;
      const fault = itemFault(field, item);
      if (fault !== undefined) return `has ${field.name} ${item}, ${fault}`;
    }
  }
  return NEVER_DUE.test(text) ? 'is never due: no such month has such a day' : undefined;
}

function itemFault({ min, max, maxStep, names }: Field, item: string): string | undefined {
  const [range = '', step] = item.split('/');
  if (step !== undefined && !isWithin(1, maxStep, step)) return `whose step is not within 1-${maxStep}`;
  if (range === '*') return undefined;
  if (step !== undefined && !range.includes('-'))
    return 'which has a step but no range, such as */n or a-b/n';

  for (const value of range.split('-')) {
    if (names.includes(value.toUpperCase()) || isWithin(min, max, value)) continue;
    return `which is not within ${min}-${max}${names.length === 0 ? '' : ` or ${names[0]}-${names.at(-1)}`}`;
  }
  return BACKWARDS.test(range) ? 'which runs backwards' : undefined;
}

function isWithin(min: number, max: number, text: string): boolean {
  return /^[0-9]+$/.test(text) && Number(text) >= min && Number(text) <= max;
}

/** Of numbers below 60: the tens are less, or they are the same and the units are less. */
function backwardsNumbers(): string[] {
  const byTens = [1, 2, 3, 4, 5].map((tens) => `${tens}[0-9]-[0-${tens - 1}]?[0-9]`);
  const byUnits = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((units) =>
    ['0?', '1', '2', '3', '4', '5'].map((tens) => `${tens}${units}-${tens}[0-${units - 1}]`),
  );
  return [...byTens, ...byUnits];
}

function backwardsNames(names: readonly string[]): string[] {
  return names.slice(1).map((name, index) => `${name}-(${names.slice(0, index + 1).join('|')})`);
}

function itemOf({ number, step, names }: Field): string {
  const values = [`(${number})`, ...(names.length === 0 ? [] : [`(${names.join('|')})`])];
  const ranges = values.map((value) => `${value}-${value}`);
  return String.raw`(\*|${ranges.join('|')})(/(${step}))?|${values.join('|')}`;
}

function listOf(item: string): string {
  return `(${item})(,(${item}))*`;
}

/** Takes names in any case, without a flag: RE2's would also take letters beyond ASCII, such as ſ for S. */
function pattern(source: string): RegExp {
  return new RegExp(source.replaceAll(/[A-Z]/g, (letter) => `[${letter}${letter.toLowerCase()}]`));
}
