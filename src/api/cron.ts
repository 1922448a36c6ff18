import { matches } from './cel.ts';

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly maxStep: number;
  readonly names: readonly string[];
  /** Numbers from `min` to `max`. One-digit numbers may have a leading zero. */
  readonly numberPattern: string;
  readonly stepPattern: string;
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
    numberPattern: '[0-5]?[0-9]',
    stepPattern: '0?[1-9]|[1-5][0-9]|60',
  },
  {
    name: 'hour',
    min: 0,
    max: 23,
    maxStep: 24,
    names: [],
    numberPattern: '[01]?[0-9]|2[0-3]',
    stepPattern: '0?[1-9]|1[0-9]|2[0-4]',
  },
  {
    name: 'day of month',
    min: 1,
    max: 31,
    maxStep: 31,
    names: [],
    numberPattern: '0?[1-9]|[12][0-9]|3[01]',
    stepPattern: '0?[1-9]|[12][0-9]|3[01]',
  },
  {
    name: 'month',
    min: 1,
    max: 12,
    maxStep: 12,
    names: MONTHS,
    numberPattern: '0?[1-9]|1[0-2]',
    stepPattern: '0?[1-9]|1[0-2]',
  },
  {
    name: 'day of week',
    min: 0,
    max: 7,
    maxStep: 7,
    names: WEEKDAYS,
    numberPattern: '0?[0-7]',
    stepPattern: '0?[1-7]',
  },
];

/**
 * Five fields, each a list of `*`, values and ranges. `*` and ranges may have a step. Croner accepts every text that
 * matches this pattern and for which {@link cronFault} returns undefined.
 */
export const CRON_PATTERN = caseInsensitive(
  `^${FIELDS.map((field) => listPattern(itemPattern(field))).join(' +')}$`,
);

/**
 * Matches expressions with only day 30 or 31 and only months that lack that day. Does not detect days or months that are
 * given as ranges or steps.
 */
const NEVER_DUE = caseInsensitive(
  `^[^ ]+ +[^ ]+ +(${listPattern('3[01]')} +${listPattern('0?2|FEB')}|31(,31)* +${listPattern('0?[2469]|11|FEB|APR|JUN|SEP|NOV')}) +\\*$`,
);

export const CRON_ACCEPTED =
  'five fields (minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC, day of week 0-7 or SUN-SAT), each a comma-separated list of *, values, ranges a-b and steps */n or a-b/n, for example "*/5 * * * *"';

/**
 * Matches a range from a higher to a lower value. A regular expression, because comparing the values in CEL exceeds the
 * API server's cost limit. A week may start or end on Sunday: SUN-SAT and MON-SUN are both valid.
 */
const BACKWARDS = caseInsensitive(
  `(^|[ ,])(${[...backwardsNumbers(), ...backwardsNames(MONTHS), ...backwardsNames(WEEKDAYS.slice(1))].join('|')})([ ,/]|$)`,
);

/** CEL rule for a text that matches {@link CRON_PATTERN}. True if {@link cronFault} returns undefined. */
export const CRON_CEL = `!${matches(BACKWARDS)} && !${matches(NEVER_DUE)}`;

/** Explains why a text is not an accepted cron expression, in words that follow the text. */
export function cronFault(text: string): string | undefined {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== FIELDS.length)
    return `has ${fields.length} ${fields.length === 1 ? 'field' : 'fields'}, not 5`;

  for (const [index, field] of FIELDS.entries()) {
    for (const item of (fields[index] ?? '').split(',')) {
      if (item === '') return `has an empty item in the ${field.name} field`;
      const fault = itemFault(field, item);
      if (fault !== undefined) return `has ${field.name} ${item}, ${fault}`;
    }
  }
  return NEVER_DUE.test(text) ? 'is never due: none of its months has such a day' : undefined;
}

function itemFault({ min, max, maxStep, names }: Field, item: string): string | undefined {
  const [range = '', step] = item.split('/');
  if (step !== undefined && !isWithin(1, maxStep, step)) return `whose step is not within 1-${maxStep}`;
  if (range === '*') return undefined;
  if (step !== undefined && !range.includes('-')) return 'which has a step but no range (write */n or a-b/n)';

  for (const value of range.split('-')) {
    if (names.includes(value.toUpperCase()) || isWithin(min, max, value)) continue;
    return `which is not within ${min}-${max}${names.length === 0 ? '' : ` or ${names[0]}-${names.at(-1)}`}`;
  }
  return BACKWARDS.test(range) ? 'which runs backwards' : undefined;
}

function isWithin(min: number, max: number, text: string): boolean {
  return /^[0-9]+$/.test(text) && Number(text) >= min && Number(text) <= max;
}

/** Patterns of backward ranges below 60: the tens decrease, or the tens are equal and the units decrease. */
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

function itemPattern({ numberPattern, stepPattern, names }: Field): string {
  const values = [`(${numberPattern})`, ...(names.length === 0 ? [] : [`(${names.join('|')})`])];
  const ranges = values.map((value) => `${value}-${value}`);
  return String.raw`(\*|${ranges.join('|')})(/(${stepPattern}))?|${values.join('|')}`;
}

function listPattern(item: string): string {
  return `(${item})(,(${item}))*`;
}

/** Makes names case-insensitive without a flag. RE2's flag would also match letters beyond ASCII, such as ſ for S. */
function caseInsensitive(source: string): RegExp {
  return new RegExp(source.replaceAll(/[A-Z]/g, (letter) => `[${letter}${letter.toLowerCase()}]`));
}
