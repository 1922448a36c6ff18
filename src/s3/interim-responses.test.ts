import fc from 'fast-check';
import { expect, it } from 'vitest';

import { InterimResponses } from './interim-responses.ts';

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const OLD_CONTINUE = 'HTTP/1.0 100 Continue\r\nvia: 1.1 proxy\r\n\r\n';
const FINAL = 'HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nxx';

/** Splits bytes at the given places. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % bytes.length).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

it.each([
  { name: 'nothing', sent: FINAL, want: FINAL },
  { name: 'one response', sent: CONTINUE + FINAL, want: FINAL },
  { name: 'several responses', sent: CONTINUE + OLD_CONTINUE + CONTINUE + FINAL, want: FINAL },
  { name: 'nothing from other protocols', sent: 'SSH-2.0-OpenSSH\r\n', want: 'SSH-2.0-OpenSSH\r\n' },
  {
    name: 'nothing with another status',
    sent: 'HTTP/1.1 103 Early\r\n\r\n',
    want: 'HTTP/1.1 103 Early\r\n\r\n',
  },
  { name: 'nothing with a status of four digits', sent: 'HTTP/1.1 1000 x\r\n', want: 'HTTP/1.1 1000 x\r\n' },
])('removes $name, wherever the bytes are cut', ({ sent, want }) => {
  fc.assert(
    fc.property(fc.array(fc.nat()), (cuts) => {
      const interim = new InterimResponses();
      const received = pieces(Buffer.from(sent), cuts).map(
        (piece) => interim.filter(piece) ?? Buffer.alloc(0),
      );
      expect(Buffer.concat(received).toString()).toBe(want);
    }),
  );
});

it('starts again with the next response', () => {
  const interim = new InterimResponses();
  for (let request = 0; request < 3; request += 1) {
    interim.expectResponse();
    expect(interim.filter(Buffer.from(CONTINUE + FINAL))?.toString()).toBe(FINAL);
  }
});

it('passes on a head that is too long', () => {
  const interim = new InterimResponses();
  const start = Buffer.from('HTTP/1.1 100 Continue\r\n');
  expect(interim.filter(start)).toBeUndefined();
  expect(interim.filter(Buffer.alloc(17_000, 'x'))?.length).toBe(17_000 + start.length);
});
