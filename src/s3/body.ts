/** A request body that can be sent more than once and need not stand in memory as a whole. */
export interface Body {
  readonly sizeBytes: number;
  /** Hex SHA-256 of all bytes. */
  readonly sha256: string;
  chunks(): Iterable<Uint8Array>;
}

/** Takes an answer's body as it comes. A sink that keeps bytes bounds what it keeps. */
export interface Sink {
  /** @returns false to break off: the rest is not read, and the connection is closed. */
  write(chunk: Buffer): boolean;
}

/** Keeps the first `maxBytes` of a body, and breaks off there. */
export class TextSink implements Sink {
  readonly #chunks: Buffer[] = [];
  #left: number;

  constructor(maxBytes: number) {
    this.#left = maxBytes;
  }

  write(chunk: Buffer): boolean {
    this.#chunks.push(chunk.length > this.#left ? chunk.subarray(0, this.#left) : chunk);
    this.#left = Math.max(0, this.#left - chunk.length);
    return this.#left > 0;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
