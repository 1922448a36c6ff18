import { NotAcceptedError } from './not-accepted.ts';
import { didYouMean } from './suggest.ts';

/**
 * Unsigned durations that Go's `time.ParseDuration` accepts and that are a whole number of milliseconds, so that Go and
 * JavaScript read the same value.
 */
export const DURATION_PATTERN = /^([0-9]+(\.[0-9]{1,3})?[hms]|[0-9]+ms)+$/;

/** Go stores a duration as nanoseconds in 63 bits. */
const MAX_MS = 2 ** 63 / 1e6;

const MS_PER_UNIT: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Common spellings of units that Go rejects, and the unit to suggest. */
const UNIT_SUGGESTIONS: readonly { words: readonly string[]; factor: number; unit: string }[] = [
  { words: ['msec', 'msecs', 'millisecond', 'milliseconds'], factor: 1, unit: 'ms' },
  { words: ['', 's', 'sec', 'secs', 'second', 'seconds'], factor: 1, unit: 's' },
  { words: ['m', 'min', 'mins', 'minute', 'minutes'], factor: 1, unit: 'm' },
  { words: ['h', 'hr', 'hrs', 'hour', 'hours'], factor: 1, unit: 'h' },
  { words: ['d', 'day', 'days'], factor: 24, unit: 'h' },
  { words: ['w', 'week', 'weeks'], factor: 7 * 24, unit: 'h' },
];

/**
 * Parses a Kubernetes duration (`metav1.Duration`) to milliseconds: `1m30s` is 90000.
 *
 * @throws {NotAcceptedError} if the text is not a duration, is negative, or exceeds the 292 years that Go supports.
 */
export function parseDurationMs(text: string): number {
  if (!DURATION_PATTERN.test(text)) throw new NotAcceptedError(`is not a duration${hint(text)}`);
  let ms = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/([0-9.]+)([a-z]+)/g)) {
    ms += Number(number) * (MS_PER_UNIT[unit] ?? Number.NaN);
  }
  if (ms > MAX_MS) throw new NotAcceptedError('is too long');
  return Math.round(ms); // sums of fractions are not exact
}

/** Formats whole milliseconds as Kubernetes does: 90000 is `1m30s`, 3600000 is `1h0m0s`, 500 is `500ms`. */
export function formatDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0)
    throw new RangeError(`${ms} is not a whole number of milliseconds`);
  if (ms === 0) return '0s';
  if (ms < 1_000) return `${ms}ms`;

  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = `${(ms % 60_000) / 1_000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  if (minutes > 0) return `${minutes}m${seconds}`;
  return seconds;
}

/** The duration most likely meant by a text such as `30`, `30 sec` or `1d`. */
export function suggestDuration(text: string): string | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?) *([a-z]*)$/i.exec(text);
  if (match === null) return undefined;
  const suggestion = UNIT_SUGGESTIONS.find(({ words }) => words.includes((match[2] ?? '').toLowerCase()));
  const duration = suggestion && `${Number(match[1]) * suggestion.factor}${suggestion.unit}`;
  return duration !== undefined && DURATION_PATTERN.test(duration) ? duration : undefined;
}

function hint(text: string): string {
  return text.startsWith('-') ? ': it is negative' : didYouMean(suggestDuration(text));
}
