import { randomInt } from 'node:crypto';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** Only letters and digits, so that JSON, URLs and quoting leave it unchanged. */
const CORE = Array.from({ length: 24 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

/**
 * A secret key that must not appear in any output. It is random per test file, includes the special characters of AWS
 * secret keys, and has at most 40 characters, MinIO's limit.
 */
export const CANARY = `canary/${CORE}+a=coal`;

/** Minimum length of a piece that counts as a leak. A truncated secret is still a leak. */
const PIECE_LENGTH = 12;

const FORMS = formsOf(CORE);

/**
 * Searches for {@link CANARY} and pieces of it: plain, reversed, in upper case, in JSON, in URLs, in base64 (alone or
 * within a longer string) and in hex.
 *
 * @param sources strings to search, keyed by source name, such as `log` or `spans`.
 * @throws Error that names the sources and the encodings, but does not repeat the secret.
 */
export function expectNoCanary(sources: Readonly<Record<string, string>>): void {
  const found = Object.entries(sources).flatMap(([source, text]) => {
    const lowerCase = text.toLowerCase();
    const forms = FORMS.filter(({ text: form, anyCase }) => (anyCase ? lowerCase : text).includes(form));
    return Array.from(new Set(forms.map(({ name }) => `${source} (${name})`)));
  });
  if (found.length > 0) throw new Error(`a secret leaked into ${found.join(', ')}`);
}

interface Form {
  readonly name: string;
  readonly text: string;
  readonly anyCase: boolean;
}

function formsOf(core: string): Form[] {
  const pieces = Array.from({ length: core.length - PIECE_LENGTH + 1 }, (_, start) =>
    core.slice(start, start + PIECE_LENGTH),
  );
  return pieces.flatMap((piece) => [
    { name: 'plain', text: piece, anyCase: true },
    { name: 'reversed', text: Array.from(piece).toReversed().join(''), anyCase: true },
    { name: 'hex', text: Buffer.from(piece).toString('hex'), anyCase: true },
    ...base64Of(piece).map((text) => ({ name: 'base64', text, anyCase: false })),
  ]);
}

/**
 * Returns the three possible base64 encodings of `text` within a longer string. They depend on the offset of `text` in
 * a group of three bytes. Characters that also depend on adjacent bytes are omitted.
 */
function base64Of(text: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(`${'\0'.repeat(offset)}${text}`).toString('base64');
    const wholeGroups = Math.floor((offset + text.length) / 3) * 4;
    return encoded.slice(Math.ceil((offset * 8) / 6), wholeGroups);
  });
}
