import { createHash } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Body } from '../s3/body.ts';
import { ComparingSink, createPayload, type RandomBytes } from './payload.ts';

const NEVER = new AbortController().signal;
const CHUNK_SIZES = [64, 256].map((kibibytes) => kibibytes * 1_024);

function payloadOf(sizeBytes: number, seed = 'one'): Promise<Body> {
  return createPayload(sizeBytes, randomBytesOf(seed), NEVER);
}

/** Returns bytes that look random but are the same for each seed. */
function randomBytesOf(seed: string): RandomBytes {
  return (bytes) => (bytes === 0 ? Buffer.alloc(0) : shake(seed, bytes));
}

function shake(seed: string, outputLength: number): Buffer {
  return createHash('shake256', { outputLength }).update(seed).digest();
}

function bytesOf(body: Body): Buffer {
  return Buffer.concat([...body.chunks()]);
}

/** Returns the difference that a sink reports for bytes that arrive in pieces. */
function differenceOf(body: Body, received: Buffer, pieceBytes = 1_000): string | undefined {
  const sink = new ComparingSink(body);
  for (let start = 0; start < received.length; start += pieceBytes) {
    if (!sink.write(received.subarray(start, start + pieceBytes))) break;
  }
  return sink.difference();
}

const SIZES = [0, 1, ...CHUNK_SIZES.flatMap((size) => [size - 1, size, size + 1, 2 * size])];

describe('a payload', () => {
  it.each(SIZES)('of %d bytes has its stated size and hash each time it is sent', async (sizeBytes) => {
    const body = await payloadOf(sizeBytes);
    const first = bytesOf(body);
    expect(body.sizeBytes).toBe(sizeBytes);
    expect(first.length).toBe(sizeBytes);
    expect(body.sha256).toBe(createHash('sha256').update(first).digest('hex'));
    expect(bytesOf(body).equals(first)).toBe(true);
  });

  it('can be sent twice at the same time', async () => {
    const body = await payloadOf(600_000);
    const [one, other] = [body.chunks()[Symbol.iterator](), body.chunks()[Symbol.iterator]()];
    for (let chunk = one.next(); chunk.done !== true; chunk = one.next()) {
      expect(other.next().value).toEqual(chunk.value);
    }
    expect(other.next().done).toBe(true);
  });

  it('is generated in small chunks', async () => {
    const body = await payloadOf(5_000_000);
    for (const chunk of body.chunks()) expect(chunk.length).toBeLessThanOrEqual(256 * 1_024);
  });

  it('differs between runs and cannot be compressed', async () => {
    const [one, other] = await Promise.all([payloadOf(100_000, 'one'), payloadOf(100_000, 'two')]);
    expect(one.sha256).not.toBe(other.sha256);
    const counts = new Map<number, number>();
    for (const byte of bytesOf(one)) counts.set(byte, (counts.get(byte) ?? 0) + 1);
    expect(counts.size).toBe(256);
    for (const count of counts.values()) expect(count).toBeLessThan(2 * (100_000 / 256));
  });

  it('stops being generated when the signal aborts', async () => {
    const stop = new AbortController();
    const payload = createPayload(1_000_000_000, randomBytesOf('one'), stop.signal);
    const reason = new DOMException('time is up', 'TimeoutError');
    stop.abort(reason);
    await expect(payload).rejects.toBe(reason);
  });
});

describe('ComparingSink', () => {
  it.each(SIZES)('finds no difference in %d unchanged bytes', async (sizeBytes) => {
    const body = await payloadOf(sizeBytes);
    expect(differenceOf(body, bytesOf(body), 10_007)).toBeUndefined();
  });

  it('detects every flipped bit', async () => {
    const body = await payloadOf(2_000);
    const position = fc.nat({ max: 1_999 });
    fc.assert(
      fc.property(position, fc.nat({ max: 7 }), fc.integer({ min: 1, max: 3_000 }), (at, bit, piece) => {
        const received = bytesOf(body);
        received[at] = (received[at] ?? 0) ^ (1 << bit);
        expect(differenceOf(body, received, piece)).toMatch(/^received 2000 bytes with SHA-256 [\da-f]{64}/);
      }),
    );
  });

  it('detects every missing or added byte', async () => {
    const body = await payloadOf(2_000);
    fc.assert(
      fc.property(fc.nat({ max: 1_999 }), fc.integer({ min: 1, max: 3_000 }), (at, piece) => {
        const whole = bytesOf(body);
        const shorter = Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1)]);
        expect(differenceOf(body, shorter, piece)).toBe('received 1999 of 2000 bytes');
        const longer = Buffer.concat([whole.subarray(0, at), Buffer.from('x'), whole.subarray(at)]);
        expect(differenceOf(body, longer, piece)).toBe('received more than the 2000 bytes sent');
        expect(differenceOf(body, whole.subarray(0, at), piece)).toBe(`received ${at} of 2000 bytes`);
      }),
    );
  });

  it('detects swapped halves', async () => {
    const body = await payloadOf(2_000);
    const whole = bytesOf(body);
    const swapped = Buffer.concat([whole.subarray(1_000), whole.subarray(0, 1_000)]);
    expect(differenceOf(body, swapped)).toContain('SHA-256');
  });

  it('stops reading a body that is too long', async () => {
    const sink = new ComparingSink(await payloadOf(10));
    expect(sink.write(Buffer.alloc(10))).toBe(true);
    expect(sink.write(Buffer.alloc(1))).toBe(false);
  });
});
