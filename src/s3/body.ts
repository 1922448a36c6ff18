/** A request body that can be sent more than once and need not fit in memory. */
export interface Body {
  readonly sizeBytes: number;
  /** Hex SHA-256 of all bytes. */
  readonly sha256: string;
  chunks(): Iterable<Uint8Array>;
}

/** The content of an object. */
export interface ObjectBody extends Body {
  /** Base64 MD5 of all bytes, as in the `Content-MD5` header. */
  readonly md5: string;
}

/** Receives the body of a response chunk by chunk. A sink that keeps bytes must limit how many. */
export interface Sink {
  /** @returns false to stop reading and close the connection. */
  write(chunk: Buffer): boolean;
}

/** Keeps the first `maxBytes` of a body, then stops reading. */
export class TextSink implements Sink {
  readonly #chunks: Buffer[] = [];
  #remainingBytes: number;

  constructor(maxBytes: number) {
    this.#remainingBytes = maxBytes;
  }

  write(chunk: Buffer): boolean {
    this.#chunks.push(chunk.length > this.#remainingBytes ? chunk.subarray(0, this.#remainingBytes) : chunk);
    this.#remainingBytes = Math.max(0, this.#remainingBytes - chunk.length);
    return this.#remainingBytes > 0;
  }

  text(): string {
    return this.#chunks.length === 0 ? '' : Buffer.concat(this.#chunks).toString('utf8');
  }
}

/** Passes a body to one sink and the first bytes of it to another. */
export class Tee implements Sink {
  readonly #sink: Sink;
  readonly #excerpt: Sink;
  #excerptBytes: number;

  constructor(sink: Sink, excerpt: Sink, excerptBytes: number) {
    this.#sink = sink;
    this.#excerpt = excerpt;
    this.#excerptBytes = excerptBytes;
  }

  write(chunk: Buffer): boolean {
    if (this.#excerptBytes > 0) {
      const start = chunk.subarray(0, this.#excerptBytes);
      this.#excerptBytes -= start.length;
      this.#excerpt.write(start);
    }
    return this.#sink.write(chunk);
  }
}
