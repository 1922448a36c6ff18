import { createCipheriv, createHash, hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import type { Body, ObjectBody, Sink } from '../s3/body.ts';

const CHUNK_BYTES = 64 * 1_024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** AES-256-CTR needs a 32-byte key and a 16-byte counter. */
const SEED_BYTES = 48;

/** Returns `bytes` random bytes. */
export type RandomBytes = (bytes: number) => Buffer;

/**
 * Creates a random body that no store can compress or deduplicate. A large body is generated again each time it is
 * sent, so that it never has to fit in memory.
 *
 * @throws `signal.reason` if the signal aborts.
 */
export async function createPayload(
  sizeBytes: number,
  randomBytes: RandomBytes,
  signal: AbortSignal,
): Promise<ObjectBody> {
  if (sizeBytes <= CHUNK_BYTES) {
    const bytes = randomBytes(sizeBytes);
    return {
      sizeBytes,
      sha256: hash('sha256', bytes, 'hex'),
      md5: hash('md5', bytes, 'base64'),
      chunks: () => [bytes],
    };
  }
  const seed = randomBytes(SEED_BYTES);
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  for (const chunk of keyStream(seed, sizeBytes)) {
    sha256.update(chunk);
    md5.update(chunk);
    // Hashing a large body takes a while. Yield to other runs.
    await setImmediate();
    signal.throwIfAborted();
  }
  return {
    sizeBytes,
    sha256: sha256.digest('hex'),
    md5: md5.digest('base64'),
    chunks: () => keyStream(seed, sizeBytes),
  };
}

/** Generates the body from a cipher's key stream, which is fast and looks random without the key. */
function* keyStream(seed: Buffer, sizeBytes: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-256-ctr', seed.subarray(0, 32), seed.subarray(32));
  for (let remainingBytes = sizeBytes; remainingBytes > 0; remainingBytes -= CHUNK_BYTES) {
    yield cipher.update(remainingBytes < CHUNK_BYTES ? ZEROS.subarray(0, remainingBytes) : ZEROS);
  }
}

/** Compares a received body with the body that was sent. */
export class ComparingSink implements Sink {
  readonly #sent: Body;
  readonly #hash = createHash('sha256');
  #receivedBytes = 0;

  constructor(sent: Body) {
    this.#sent = sent;
  }

  write(chunk: Buffer): boolean {
    this.#receivedBytes += chunk.length;
    this.#hash.update(chunk);
    return this.#receivedBytes <= this.#sent.sizeBytes;
  }

  /** @returns the difference between the bodies, or undefined if they are equal. Call once, after the last byte. */
  difference(): string | undefined {
    const { sizeBytes, sha256 } = this.#sent;
    if (this.#receivedBytes > sizeBytes) return `received more than the ${sizeBytes} bytes sent`;
    if (this.#receivedBytes < sizeBytes) return `received ${this.#receivedBytes} of ${sizeBytes} bytes`;
    const received = this.#hash.digest('hex');
    return received === sha256
      ? undefined
      : `received ${sizeBytes} bytes with SHA-256 ${received}, expected ${sha256}`;
  }
}
