import type http from 'node:http';

import { bodyOf, serveHttp, type TestServer } from './http-server.ts';

/**
 * How a call fails. `…Before` faults happen before the store performs the request. `…After` and `…InAnswer` faults
 * happen afterwards.
 */
export const FAULTS = [
  'denies',
  'slowsDown',
  'failsBefore',
  'failsAfter',
  'cutsBefore',
  'cutsAfter',
  'cutsInAnswer',
  'hangsBefore',
  'hangsAfter',
  'hangsInAnswer',
  'answersGarbage',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface FakeS3Options {
  /** Returns the fault for a request, if any. Calls are counted from 0. */
  readonly faultAt?: (call: number, request: string) => Fault | undefined;
  /** Called when a request hangs. */
  readonly onHang?: () => void;
  /** Modifies the content of fetched objects. */
  readonly corrupt?: (bytes: Buffer) => Buffer;
}

interface Answer {
  readonly status: number;
  readonly body?: Buffer | string;
}

/** A small in-memory S3 over real HTTP, with injected faults. Signatures are not verified. */
export class FakeS3 {
  /** Objects by bucket and key. */
  readonly buckets = new Map<string, Map<string, Buffer>>();
  readonly #options: FakeS3Options;
  #server: TestServer | undefined;
  #calls = 0;

  constructor(options: FakeS3Options = {}) {
    this.#options = options;
  }

  /** Starts a store that stops after the test. */
  static async start(options: FakeS3Options = {}): Promise<FakeS3> {
    const store = new FakeS3(options);
    store.#server = await serveHttp((request, response) => {
      void store.handle(request, response);
    });
    return store;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  get requests(): readonly string[] {
    return this.#server?.requests ?? [];
  }

  /** All buckets and objects, as `bucket` and `bucket/key`. */
  get contents(): string[] {
    return Array.from(this.buckets, ([bucket, objects]) => [
      bucket,
      ...Array.from(objects.keys(), (key) => `${bucket}/${key}`),
    ]).flat();
  }

  async handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const name = `${request.method} ${request.url}`;
    const fault = this.#options.faultAt?.(this.#calls, name);
    this.#calls += 1;
    const body = await bodyOf(request).catch(() => undefined);
    if (body === undefined) return;
    this.#answer(request, response, body, fault);
  }

  #answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    body: Buffer,
    fault: Fault | undefined,
  ): void {
    const send = ({ status, body: text = '' }: Answer): void => {
      response.writeHead(status, { 'x-amz-request-id': '17F0', 'content-type': 'application/xml' });
      response.end(text);
    };
    const perform = (): Answer => this.#perform(request, body);
    const { socket } = request;
    const hang = (): void => this.#options.onHang?.();
    switch (fault) {
      case undefined:
        send(perform());
        break;
      case 'denies':
        send({ status: 403, body: errorXml('AccessDenied') });
        break;
      case 'slowsDown':
        send({ status: 503, body: errorXml('SlowDown') });
        break;
      case 'failsAfter':
        perform();
        send({ status: 500, body: errorXml('InternalError') });
        break;
      case 'failsBefore':
        send({ status: 500, body: errorXml('InternalError') });
        break;
      case 'cutsAfter':
        perform();
        socket.destroy();
        break;
      case 'cutsBefore':
        socket.destroy();
        break;
      case 'cutsInAnswer':
        socket.end(`${headOf(perform())}hel`);
        break;
      case 'hangsInAnswer':
        socket.write(`${headOf(perform())}hel`);
        hang();
        break;
      case 'hangsAfter':
        perform();
        hang();
        break;
      case 'hangsBefore':
        hang();
        break;
      case 'answersGarbage':
        socket.end('SSH-2.0-OpenSSH_9.9\r\n');
        break;
    }
  }

  #perform({ method, url = '' }: http.IncomingMessage, body: Buffer): Answer {
    const { pathname, searchParams } = new URL(url, 'http://fake');
    const [, bucket = '', key = ''] = /^\/([^/]+)\/?(.*)$/.exec(decodeURIComponent(pathname)) ?? [];
    const objects = this.buckets.get(bucket);
    if (key === '') return this.#performOnBucket(method, bucket, objects, searchParams);
    if (objects === undefined) return { status: 404, body: errorXml('NoSuchBucket') };
    const object = objects.get(key);
    if (method === 'PUT') {
      objects.set(key, body);
      return { status: 200 };
    }
    if (method === 'DELETE') {
      objects.delete(key);
      return { status: 204 };
    }
    if (object === undefined) return { status: 404, body: errorXml('NoSuchKey') };
    return { status: 200, body: this.#options.corrupt?.(object) ?? object };
  }

  #performOnBucket(
    method: string | undefined,
    bucket: string,
    objects: Map<string, Buffer> | undefined,
    query: URLSearchParams,
  ): Answer {
    if (method === 'PUT') {
      if (objects !== undefined) return { status: 409, body: errorXml('BucketAlreadyOwnedByYou') };
      this.buckets.set(bucket, new Map());
      return { status: 200 };
    }
    if (objects === undefined) return { status: 404, body: errorXml('NoSuchBucket') };
    if (method === 'DELETE') {
      if (objects.size > 0) return { status: 409, body: errorXml('BucketNotEmpty') };
      this.buckets.delete(bucket);
      return { status: 204 };
    }
    const prefix = query.get('prefix') ?? '';
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix));
    const contents = keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join('');
    return { status: 200, body: `<ListBucketResult>${contents}</ListBucketResult>` };
  }
}

function errorXml(code: string): string {
  return `<Error><Code>${code}</Code><Message>${code}.</Message></Error>`;
}

/** Head of a response whose body is cut off. */
function headOf({ status }: Answer): string {
  return `HTTP/1.1 ${status} Whatever\r\ncontent-length: 1000\r\n\r\n`;
}
