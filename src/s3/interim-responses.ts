import type net from 'node:net';

/** Longest head that is held back. A longer one is passed on, and undici rejects it. */
const MAX_HEAD_BYTES = 16 * 1_024;

const CONTINUE = /^HTTP\/1\.[01] 100[ \r]/;
const PATTERN = 'HTTP/1.x 100';

/**
 * Removes `100 Continue` responses from the bytes that a connection receives. Some proxies send them unasked, and
 * undici then closes the connection. Source: RFC 9110, 15.2: a client must be able to parse them and may ignore them.
 */
export class InterimResponses {
  #held: Buffer | undefined;
  #isAtStart = true;

  /** The next bytes belong to the response to a new request. */
  expectResponse(): void {
    this.#held = undefined;
    this.#isAtStart = true;
  }

  /** @returns undefined if all bytes were removed or held back. */
  filter(chunk: Buffer): Buffer | undefined {
    if (!this.#isAtStart) return chunk;
    let bytes = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = undefined;
    while (bytes.length > 0) {
      if (!canBeContinue(bytes)) {
        this.#isAtStart = false;
        return bytes;
      }
      const end = bytes.indexOf('\r\n\r\n');
      if (end === -1) {
        this.#held = bytes;
        return undefined;
      }
      bytes = bytes.subarray(end + 4);
    }
    return undefined;
  }
}

/** Installs the filter where undici reads: it calls `socket.read()` until that returns null. */
export function withoutInterimResponses(socket: net.Socket): InterimResponses {
  const interim = new InterimResponses();
  const read = socket.read.bind(socket);
  socket.read = () => {
    for (let chunk = read() as Buffer | null; chunk !== null; chunk = read() as Buffer | null) {
      const rest = interim.filter(chunk);
      if (rest !== undefined) return rest;
    }
    return null;
  };
  return interim;
}

/** True if the bytes are the start of a `100` response, perhaps cut off. */
function canBeContinue(bytes: Buffer): boolean {
  if (bytes.length > MAX_HEAD_BYTES) return false;
  const start = bytes.toString('latin1', 0, PATTERN.length + 1);
  if (start.length > PATTERN.length) return CONTINUE.test(start);
  return (
    /^HTTP\/1\.[01]/.test(`${start}${'HTTP/1.1'.slice(start.length)}`) && PATTERN.startsWith(masked(start))
  );
}

/** Replaces the minor version, so that both versions match the pattern. */
function masked(start: string): string {
  return start.length > 7 ? `${start.slice(0, 7)}x${start.slice(8)}` : start;
}
