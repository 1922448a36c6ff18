import type http from 'node:http';

import { type FakeVersion, FakeVersions } from './fake-versions.ts';
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
  /** Versioning of buckets that are created or filled with `seed`. Default: none. */
  readonly versioning?: 'Enabled' | 'Suspended';
  /** If true, the response to a PUT does not contain the version ID. */
  readonly hidesVersionIds?: boolean;
  /** Objects whose versions have a retention. */
  readonly isLocked?: (key: string) => boolean;
  /** Status for listings that the store does not offer or permit. */
  readonly refuses?: Readonly<Partial<Record<'versions' | 'uploads', number>>>;
  /** Entries per page at most. */
  readonly pageSize?: number;
}

export interface FakeUpload {
  readonly bucket: string;
  readonly key: string;
  readonly id: string;
}

interface Answer {
  readonly status: number;
  readonly body?: Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A small in-memory S3 over real HTTP, with injected faults. Signatures are not verified. */
export class FakeS3 {
  /** Objects by bucket and key. */
  readonly buckets = new Map<string, Map<string, Buffer>>();
  /** Versions by bucket, for buckets with versioning. */
  readonly versions = new Map<string, FakeVersions>();
  /** Unfinished multipart uploads. */
  uploads: FakeUpload[] = [];
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

  /** Creates a bucket and puts objects into it, in this order. */
  seed(bucket: string, keys: readonly string[]): void {
    this.#createBucket(bucket);
    for (const key of keys) this.#put(bucket, key, Buffer.from('x'));
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
    const send = ({ status, body: text = '', headers }: Answer): void => {
      response.writeHead(status, {
        'x-amz-request-id': '17F0',
        'content-type': 'application/xml',
        ...headers,
      });
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
    if (method === 'PUT') return this.#put(bucket, key, body);
    if (method === 'DELETE') return this.#delete(bucket, key, searchParams);
    const object = objects.get(key);
    if (object === undefined) return { status: 404, body: errorXml('NoSuchKey') };
    return { status: 200, body: this.#options.corrupt?.(object) ?? object };
  }

  #createBucket(bucket: string): void {
    this.buckets.set(bucket, new Map());
    const { versioning } = this.#options;
    if (versioning !== undefined) this.versions.set(bucket, new FakeVersions(versioning));
  }

  #put(bucket: string, key: string, body: Buffer): Answer {
    this.buckets.get(bucket)?.set(key, body);
    const id = this.versions.get(bucket)?.add(key, body);
    if (id === undefined || this.#options.hidesVersionIds === true) return { status: 200 };
    return { status: 200, headers: { 'x-amz-version-id': id } };
  }

  #delete(bucket: string, key: string, query: URLSearchParams): Answer {
    const uploadId = query.get('uploadId');
    if (uploadId !== null) return this.#abort(bucket, key, uploadId);
    const versions = this.versions.get(bucket);
    const objects = this.buckets.get(bucket);
    const id = query.get('versionId');
    if (versions === undefined) {
      objects?.delete(key);
      return { status: 204 };
    }
    if (id === null) {
      objects?.delete(key);
      const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versions.add(key) };
      return { status: 204, headers };
    }
    if (this.#options.isLocked?.(key) === true) return { status: 400, body: errorXml('ObjectLocked') };
    versions.remove(key, id);
    const body = versions.latest(key)?.body;
    if (body === undefined) objects?.delete(key);
    else objects?.set(key, body);
    return { status: 204 };
  }

  #abort(bucket: string, key: string, id: string): Answer {
    const remaining = this.uploads.filter(
      (upload) => upload.bucket !== bucket || upload.key !== key || upload.id !== id,
    );
    if (remaining.length === this.uploads.length) return { status: 404, body: errorXml('NoSuchUpload') };
    this.uploads = remaining;
    return { status: 204 };
  }

  #performOnBucket(
    method: string | undefined,
    bucket: string,
    objects: Map<string, Buffer> | undefined,
    query: URLSearchParams,
  ): Answer {
    if (method === 'PUT') {
      if (objects !== undefined) return { status: 409, body: errorXml('BucketAlreadyOwnedByYou') };
      this.#createBucket(bucket);
      return { status: 200 };
    }
    if (objects === undefined) return { status: 404, body: errorXml('NoSuchBucket') };
    if (method === 'DELETE') {
      if (objects.size > 0 || (this.versions.get(bucket)?.listed.length ?? 0) > 0)
        return { status: 409, body: errorXml('BucketNotEmpty') };
      this.buckets.delete(bucket);
      return { status: 204 };
    }
    if (query.has('versions')) return this.#listVersions(bucket, objects, query);
    if (query.has('uploads')) return this.#listUploads(bucket, query);
    const keys = [...objects.keys()].toSorted();
    const page = this.#page(keys, (key) => key, query, query.get('continuation-token') ?? undefined);
    const contents = page.entries.map((key) => `<Contents><Key>${encodeKey(key)}</Key></Contents>`).join('');
    const next = page.next === undefined ? '' : `<NextContinuationToken>${page.next}</NextContinuationToken>`;
    return listing('ListBucketResult', `${contents}${next}`, page.next);
  }

  #listVersions(bucket: string, objects: ReadonlyMap<string, Buffer>, query: URLSearchParams): Answer {
    const { refuses } = this.#options;
    if (refuses?.versions !== undefined)
      return { status: refuses.versions, body: errorXml('NotImplemented') };
    const plain = Array.from(objects, ([key, body]): FakeVersion => ({ key, body, id: 'null' }));
    const versions = this.versions.get(bucket);
    const all = versions?.listed ?? plain.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    const start =
      query.get('key-marker') === null
        ? undefined
        : `${query.get('key-marker')}\n${query.get('version-id-marker')}`;
    const page = this.#page(all, ({ key, id }) => `${key}\n${id}`, query, start);
    const entries = page.entries.map((version) => {
      const tag = version.body === undefined ? 'DeleteMarker' : 'Version';
      const isLatest = versions === undefined || versions.latest(version.key) === version;
      return `<${tag}><Key>${encodeKey(version.key)}</Key><VersionId>${version.id}</VersionId><IsLatest>${isLatest}</IsLatest></${tag}>`;
    });
    const [key = '', id = ''] = page.next?.split('\n') ?? [];
    const next = `<NextKeyMarker>${encodeKey(key)}</NextKeyMarker><NextVersionIdMarker>${id}</NextVersionIdMarker>`;
    return listing(
      'ListVersionsResult',
      `${entries.join('')}${page.next === undefined ? '' : next}`,
      page.next,
    );
  }

  #listUploads(bucket: string, query: URLSearchParams): Answer {
    const { refuses } = this.#options;
    if (refuses?.uploads !== undefined) return { status: refuses.uploads, body: errorXml('AccessDenied') };
    const all = this.uploads.filter((upload) => upload.bucket === bucket);
    const start =
      query.get('key-marker') === null
        ? undefined
        : `${query.get('key-marker')}\n${query.get('upload-id-marker')}`;
    const page = this.#page(all, ({ key, id }) => `${key}\n${id}`, query, start);
    const entries = page.entries.map(
      ({ key, id }) => `<Upload><Key>${encodeKey(key)}</Key><UploadId>${id}</UploadId></Upload>`,
    );
    const [key = '', id = ''] = page.next?.split('\n') ?? [];
    const next = `<NextKeyMarker>${encodeKey(key)}</NextKeyMarker><NextUploadIdMarker>${id}</NextUploadIdMarker>`;
    return listing(
      'ListMultipartUploadsResult',
      `${entries.join('')}${page.next === undefined ? '' : next}`,
      page.next,
    );
  }

  /** Returns the page after the entry `start`, and the ID of its last entry if there are more. */
  #page<T>(
    all: readonly T[],
    idOf: (entry: T) => string,
    query: URLSearchParams,
    start: string | undefined,
  ): { entries: T[]; next?: string } {
    const prefix = query.get('prefix') ?? '';
    const matching = all.filter((entry) => idOf(entry).startsWith(prefix));
    const remaining = matching.filter((entry) => start === undefined || rankOf(idOf(entry)) > rankOf(start));
    const asked = Number(query.get('max-keys') ?? query.get('max-uploads') ?? 1_000);
    const entries = remaining.slice(0, Math.min(asked, this.#options.pageSize ?? 1_000));
    const last = entries.at(-1);
    if (last === undefined || entries.length === remaining.length) return { entries };
    return { entries, next: idOf(last) };
  }
}

function listing(root: string, content: string, next: string | undefined): Answer {
  const head = `<EncodingType>url</EncodingType><IsTruncated>${next !== undefined}</IsTruncated>`;
  return { status: 200, body: `<${root}>${head}${content}</${root}>` };
}

/** Sorts IDs of versions, `key\nv12`, by key and newest first. */
function rankOf(id: string): string {
  return id.replace(/\nv(\d+)$/, (_, count: string) => `\n${1_000_000 - Number(count)}`);
}

function encodeKey(key: string): string {
  return encodeURIComponent(key).replaceAll('%2F', '/');
}

function errorXml(code: string): string {
  return `<Error><Code>${code}</Code><Message>${code}.</Message></Error>`;
}

/** Head of a response whose body is cut off. */
function headOf({ status, headers = {} }: Answer): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Whatever\r\n${lines.join('')}content-length: 1000\r\n\r\n`;
}
