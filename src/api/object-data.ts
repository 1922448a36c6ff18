import { ReasonedError } from './reasons.ts';

/** The data of a Secret or ConfigMap by key, as bytes. */
export type ObjectData = Readonly<Record<string, Uint8Array>>;

/** Longest list of keys in a message. */
const MAX_LISTED_KEYS = 12;

/**
 * Decodes a value as UTF-8, or as UTF-16 if it starts with a UTF-16 byte order mark, as files from PowerShell do. The
 * byte order mark itself is removed. Undefined if the bytes are not text.
 */
export function textOf(bytes: Uint8Array): string | undefined {
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  const encoding = isUtf16 ? (first === 0xff ? 'utf-16le' : 'utf-16be') : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Returns the text of a key.
 *
 * @param object describes the object in messages, for example `Secret storage/keys`.
 * @throws {ReasonedError} `SecretInvalid` if the key is missing or empty, or its value is not text.
 */
export function requiredText(data: ObjectData, key: string, object: string): string {
  const bytes = Object.hasOwn(data, key) ? data[key] : undefined;
  if (bytes === undefined || bytes.length === 0) {
    throw new ReasonedError('SecretInvalid', `${object} has no ${key}; ${foundKeys(data)}`);
  }
  const text = textOf(bytes);
  if (text !== undefined) return text;
  throw new ReasonedError('SecretInvalid', `${key} in ${object} is not text; accepted: UTF-8`);
}

/**
 * Lists the keys with a value: `found: a, b`. A line of a file that is a secret in base64, such as `c2VjcmV0=`, looks like
 * a key without a value. Keys without a value are therefore not listed.
 */
export function foundKeys(data: ObjectData): string {
  const keys = Object.entries(data)
    .filter(([, value]) => value.some((byte) => byte !== EQUALS_SIGN))
    .map(([key]) => key);
  if (keys.length === 0) return 'it is empty';
  const more = keys.length > MAX_LISTED_KEYS ? ` and ${keys.length - MAX_LISTED_KEYS} more` : '';
  return `found: ${keys.toSorted().slice(0, MAX_LISTED_KEYS).join(', ')}${more}`;
}

const EQUALS_SIGN = 0x3d;
