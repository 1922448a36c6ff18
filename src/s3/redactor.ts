import type { RunTarget } from '../api/run.ts';

/** A piece of a secret that is at least this long is redacted, so that a secret that was cut off is not shown. */
const PIECE_LENGTH = 8;

const MAX_CLEAN = 64;
const MAX_CLEAN_LENGTH = 128;

const REDACTED = '[redacted]';

/**
 * Removes a target's secrets from texts that a server sent, because a server can echo what it received: plain, reversed,
 * percent-encoded, in base64 and in hex, in upper and lower case, complete or cut off.
 */
export class Redactor {
  readonly #secrets: readonly string[];
  /** All pieces of all secrets, in lower case. Created for the first text, because most runs need none. */
  #pieces: ReadonlySet<string> | undefined;
  /** Texts without a secret, because every response of a store repeats some headers. */
  readonly #clean = new Set<string>();

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets.filter((secret) => secret !== '');
  }

  redact(text: string): string {
    if (this.#clean.has(text)) return text;
    const redacted = this.#redacted(text);
    if (redacted === text && text.length <= MAX_CLEAN_LENGTH) {
      if (this.#clean.size >= MAX_CLEAN) this.#clean.clear();
      this.#clean.add(text);
    }
    return redacted;
  }

  #redacted(text: string): string {
    if (text.length < PIECE_LENGTH) return this.#redactShort(text);
    this.#pieces ??= piecesOf(this.#secrets);
    const lowerCase = text.toLowerCase();
    let redacted = '';
    let keptUntil = 0;
    let at = 0;
    while (at + PIECE_LENGTH <= text.length) {
      if (!this.#pieces.has(lowerCase.slice(at, at + PIECE_LENGTH))) {
        at += 1;
        continue;
      }
      redacted += text.slice(keptUntil, at) + REDACTED;
      while (this.#pieces.has(lowerCase.slice(at, at + PIECE_LENGTH))) at += 1;
      at += PIECE_LENGTH - 1;
      keptUntil = at;
    }
    return this.#redactShort(redacted + text.slice(keptUntil));
  }

  /** A secret shorter than a piece, for example a test password. */
  #redactShort(text: string): string {
    let redacted = text.replaceAll(/\bSignature=[0-9a-f]+/gi, `Signature=${REDACTED}`);
    for (const secret of this.#secrets) {
      if (secret.length < PIECE_LENGTH && secret.length >= 4)
        redacted = redacted.replaceAll(secret, REDACTED);
    }
    return redacted;
  }
}

export function secretsOf({ credentials, proxy }: RunTarget): string[] {
  const { secretKey, sessionToken } = credentials;
  const secrets = [secretKey, sessionToken, proxy?.credentials?.password];
  if (proxy?.credentials !== undefined) {
    const { username, password } = proxy.credentials;
    secrets.push(Buffer.from(`${username}:${password}`).toString('base64'));
  }
  return secrets.filter((secret) => secret !== undefined);
}

function piecesOf(secrets: readonly string[]): Set<string> {
  const pieces = new Set<string>();
  for (const form of secrets.flatMap(formsOf)) {
    const lowerCase = form.toLowerCase();
    for (let at = 0; at + PIECE_LENGTH <= lowerCase.length; at += 1) {
      pieces.add(lowerCase.slice(at, at + PIECE_LENGTH));
    }
  }
  return pieces;
}

function formsOf(secret: string): string[] {
  if (secret.length < PIECE_LENGTH) return [];
  const bytes = Buffer.from(secret);
  // Base64 of a longer text contains one of three forms, depending on where the secret starts.
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .slice(offset === 0 ? 0 : offset + 1),
  );
  return [
    secret,
    Array.from(secret).toReversed().join(''),
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
    bytes.toString('hex'),
    ...base64,
  ];
}
