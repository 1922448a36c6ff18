import { createCipheriv, createHash, hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import type { Body, Sink } from '../s3/body.ts';

const CHUNK_BYTES = 64 * 1_024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** AES-256-CTR: 32 bytes of key, 16 of counter. */
const SEED_BYTES = 48;

/** Makes `bytes` random bytes. */
export type RandomBytes = (bytes: number) => Buffer;

/**
 * A random body that no store can compress or deduplicate. A large one is made anew each time it is sent, so that it
 * never stands in memory as a whole.
 *
 * @throws `signal.reason` when that aborts.
 */
export async function createPayload(
  sizeBytes: number,
  randomBytes: RandomBytes,
  signal: AbortSignal,
): Promise<Body> {
  if (sizeBytes <= CHUNK_BYTES) {
    const bytes = randomBytes(sizeBytes);
    return { sizeBytes, sha256: hash('sha256', bytes, 'hex'), chunks: () => [bytes] };
  }
  const seed = randomBytes(SEED_BYTES);
  const digest = createHash('sha256');
  for (const chunk of keyStream(seed, sizeBytes)) {
    digest.update(chunk);
    // Hashing a large body takes a while; others want to run too.
    await setImmediate();
    signal.throwIfAborted();
  }
  return { sizeBytes, sha256: digest.digest('hex'), chunks: () => keyStream(seed, sizeBytes) };
}

/** The key stream of a cipher is random to all who lack the key, and cheap. */
function* keyStream(seed: Buffer, sizeBytes: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-256-ctr', seed.subarray(0, 32), seed.subarray(32));
  for (let left = sizeBytes; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(left < CHUNK_BYTES ? ZEROS.subarray(0, left) : ZEROS);
  }
}

/** Takes a body as it comes back, and tells whether it is the one that was sent. */
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

  /** @returns how the two differ; undefined when they do not. Asked once, after the last byte. */
  difference(): string | undefined {
    const { sizeBytes, sha256 } = this.#sent;
    if (this.#receivedBytes > sizeBytes) return `more than the ${sizeBytes} bytes sent came back`;
    if (this.#receivedBytes < sizeBytes) return `${this.#receivedBytes} of ${sizeBytes} bytes came back`;
    const received = this.#hash.digest('hex');
    return received === sha256
      ? undefined
      : `${sizeBytes} bytes came back with SHA-256 ${received}, sent was ${sha256}`;
  }
}
