import { NotAcceptedError } from './not-accepted.ts';
import { didYouMean } from './suggest.ts';

/** Kubernetes quantities (`resource.Quantity`) without a sign, fraction or exponent: whole numbers of bytes. */
export const QUANTITY_PATTERN = /^([0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$/;

const BINARY_SUFFIXES = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL_SUFFIXES = ['k', 'M', 'G', 'T', 'P', 'E'];

/**
 * Parses a Kubernetes quantity to bytes: `4Ki` is 4096.
 *
 * @throws {NotAcceptedError} if the text does not match {@link QUANTITY_PATTERN}, or exceeds `Number.MAX_SAFE_INTEGER` bytes.
 */
export function parseBytes(text: string): number {
  const match = QUANTITY_PATTERN.exec(text);
  if (match === null) throw new NotAcceptedError(`is not a size${hint(text)}`);

  const [, number = '', suffix = ''] = match;
  const bytes = BigInt(number) * BigInt(multiplier(suffix));
  if (bytes > Number.MAX_SAFE_INTEGER) throw new NotAcceptedError('is too large');
  return Number(bytes);
}

/**
 * Formats bytes as Kubernetes does, with the largest binary suffix that gives a whole number: 4096 is `4Ki`, 1000 is
 * `1000`.
 */
export function formatBytes(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new RangeError(`${bytes} is not a whole number of bytes`);
  const suffix = BINARY_SUFFIXES.findLast((name) => bytes % multiplier(name) === 0);
  if (suffix === undefined || bytes === 0) return String(bytes);
  return `${bytes / multiplier(suffix)}${suffix}`;
}

/** Exact, because it is a power of 2 or a power of 10 up to 10^18. */
function multiplier(suffix: string): number {
  if (BINARY_SUFFIXES.includes(suffix)) return 1024 ** (BINARY_SUFFIXES.indexOf(suffix) + 1);
  return 1000 ** (DECIMAL_SUFFIXES.indexOf(suffix) + 1);
}

/** Suggests the size most likely meant by a string such as `4KB`, `4 KiB` or `1.5Mi`. */
function hint(text: string): string {
  if (text.startsWith('-')) return ': it is negative';
  const [match, number = '', letter = '', binary = ''] =
    /^([0-9]{1,15}(?:\.[0-9]{1,15})?) *([kmgtpe]?)(i?)b?$/i.exec(text) ?? [];
  if (match === undefined) return '';

  const decimalSuffix =
    DECIMAL_SUFFIXES.find((suffix) => suffix.toLowerCase() === letter.toLowerCase()) ?? '';
  const binarySuffix = letter === '' ? '' : `${letter.toUpperCase()}i`;
  const suggestions = [withoutFraction(number, binarySuffix)];
  if (letter !== '' && binary === '') suggestions.push(withoutFraction(number, decimalSuffix));
  const known = suggestions.filter((size) => size !== undefined);
  return didYouMean(known.length === 0 ? undefined : known.join(' or '));
}

/** The same size without a fraction, if it is a whole number of bytes. */
function withoutFraction(number: string, suffix: string): string | undefined {
  if (!number.includes('.')) return `${number}${suffix}`;
  const bytes = Number(number) * multiplier(suffix);
  return Number.isSafeInteger(bytes) ? formatBytes(bytes) : undefined;
}
