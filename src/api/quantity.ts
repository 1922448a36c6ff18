import { NotAcceptedError } from './not-accepted.ts';
import { didYouMean } from './suggest.ts';

/** The part of Kubernetes' `resource.Quantity` that can be a number of bytes: no sign, no fractions by suffix. */
export const QUANTITY_PATTERN =
  /^([0-9]+(\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E|[eE][0-9]{1,2})?$/;

const BINARY_SUFFIXES = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL_SUFFIXES = ['k', 'M', 'G', 'T', 'P', 'E'];

/**
 * Bytes of a Kubernetes quantity, for example 4096 for `4Ki`.
 *
 * @throws {NotAcceptedError} if it is no quantity, not a whole number of bytes, or above `Number.MAX_SAFE_INTEGER`.
 */
export function parseBytes(text: string): number {
  const match = QUANTITY_PATTERN.exec(text);
  if (match === null) throw new NotAcceptedError(`is not a size${hint(text)}`);

  const [, number = '', , suffix = ''] = match;
  const [whole = '', fraction = ''] = number.split('.');
  const scaled = BigInt(whole + fraction) * multiplier(suffix);
  const scale = 10n ** BigInt(fraction.length);
  if (scaled % scale !== 0n) throw new NotAcceptedError('is not a whole number of bytes');

  const bytes = scaled / scale;
  if (bytes > Number.MAX_SAFE_INTEGER) throw new NotAcceptedError('is too large');
  return Number(bytes);
}

/**
 * A whole number of bytes with the largest binary suffix that leaves it whole, as Kubernetes writes it: 4096 is `4Ki`,
 * 1000 is `1000`.
 */
export function formatBytes(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new RangeError(`${bytes} is not a whole number of bytes`);
  const suffix = BINARY_SUFFIXES.findLast((name) => bytes % Number(multiplier(name)) === 0);
  if (suffix === undefined || bytes === 0) return String(bytes);
  return `${bytes / Number(multiplier(suffix))}${suffix}`;
}

function multiplier(suffix: string): bigint {
  if (BINARY_SUFFIXES.includes(suffix)) return 1024n ** BigInt(BINARY_SUFFIXES.indexOf(suffix) + 1);
  if (DECIMAL_SUFFIXES.includes(suffix)) return 1000n ** BigInt(DECIMAL_SUFFIXES.indexOf(suffix) + 1);
  return 10n ** BigInt(suffix.slice(1));
}

/** Tells what the writer of `4KB` or `4 KiB` most likely meant. */
function hint(text: string): string {
  if (text.startsWith('-')) return ': it is negative';
  const [match, number = '', letter = '', binary = ''] =
    /^([0-9]+(?:\.[0-9]+)?) *([kmgtpe]?)(i?)b?$/i.exec(text) ?? [];
  if (match === undefined) return '';
  if (letter === '') return didYouMean(number);

  const binarySize = `${number}${letter.toUpperCase()}i`;
  if (binary !== '') return didYouMean(binarySize);
  const decimalSuffix = DECIMAL_SUFFIXES.find((suffix) => suffix.toLowerCase() === letter.toLowerCase());
  return didYouMean(`${binarySize} or ${number}${decimalSuffix}`);
}
