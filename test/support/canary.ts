import { randomInt } from 'node:crypto';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** Of letters and digits alone, so that it stands unchanged in JSON, in URLs and in quotation. */
const CORE = Array.from({ length: 24 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

/**
 * A secret key that must not be seen anywhere: random for each test file, with the characters that secret keys of AWS
 * have beside letters and digits, and no longer than MinIO takes (40).
 */
export const CANARY = `canary/${CORE}+a=coal`;

/** A piece of this length is found too: a secret that is cut short is still a secret half told. */
const PIECE_LENGTH = 12;

const FORMS = formsOf(CORE);

/**
 * Looks for {@link CANARY} and for pieces of it: as it is, reversed, in upper case, in JSON, in URLs, in base64 (alone or
 * in the middle of more) and in hex.
 *
 * @param sources texts by what to call them, such as `log` or `spans`.
 * @throws Error that names the sources and the forms, and does not repeat what it found.
 */
export function expectNoCanary(sources: Readonly<Record<string, string>>): void {
  const found = Object.entries(sources).flatMap(([source, text]) => {
    const lowerCase = text.toLowerCase();
    const forms = FORMS.filter(({ text: form, anyCase }) => (anyCase ? lowerCase : text).includes(form));
    return Array.from(new Set(forms.map(({ name }) => `${source} (${name})`)));
  });
  if (found.length > 0) throw new Error(`a secret stands in ${found.join(', ')}`);
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

/** Base64 of a text differs by where in a group of three bytes it begins; what its neighbours change is left out. */
function base64Of(text: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(`${'\0'.repeat(offset)}${text}`).toString('base64');
    const wholeGroups = Math.floor((offset + text.length) / 3) * 4;
    return encoded.slice(Math.ceil((offset * 8) / 6), wholeGroups);
  });
}
