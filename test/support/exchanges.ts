import fc from 'fast-check';

import { STORE_ERROR_CODES } from './store-error-codes.ts';

/** A response as a server may send it. */
export interface GeneratedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** What a server does with one request. */
export type Behaviour =
  | { readonly kind: 'respond'; readonly response: GeneratedResponse }
  /** Sends a response but closes the connection after this share of its bytes. */
  | {
      readonly kind: 'cut';
      readonly response: GeneratedResponse;
      readonly share: number;
      readonly reset: boolean;
    }
  /** Sends this share of the bytes of a response and then nothing. */
  | { readonly kind: 'hang'; readonly response: GeneratedResponse; readonly share: number }
  /** Sends bytes that need not be HTTP. */
  | { readonly kind: 'garbage'; readonly bytes: Uint8Array }
  /** Behaves like an S3 store. */
  | { readonly kind: 'store' };

const codes = Object.values(STORE_ERROR_CODES).flat();

/** Texts in which servers repeat what they received, or hide it. */
export function generatedResponse(secrets: readonly string[]): fc.Arbitrary<GeneratedResponse> {
  const echoed = fc.constantFrom(
    ...secrets.flatMap((secret) => [
      secret,
      secret.slice(0, 20),
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64'),
    ]),
  );
  const words = fc.oneof(fc.string({ maxLength: 60 }), echoed, fc.constantFrom('Sign in', 'ok', '', '<b>'));
  const errorDocument = fc
    .tuple(fc.oneof(fc.constantFrom(...codes), words), words, fc.option(words, { nil: undefined }))
    .map(([code, message, region]) => {
      const place = region === undefined ? '' : `<Region>${region}</Region><Endpoint>${region}</Endpoint>`;
      return `<Error><Code>${code}</Code><Message>${message}</Message>${place}</Error>`;
    });
  const text = fc.oneof(
    fc.constant(''),
    errorDocument,
    words,
    words.map((title) => `<html><title>${title}</title><p>${title}</p></html>`),
    words.map((key) => `<ListBucketResult><Contents><Key>${key}</Key></Contents></ListBucketResult>`),
    fc.constant('<LocationConstraint/>'),
  );
  const value = fc
    .oneof(words, fc.constantFrom('text/html', 'application/xml', 'nginx', '1', '"etag"'))
    .map((raw) => raw.replaceAll(/[^\u0020-\u007e]/g, ''));
  const name = fc.constantFrom(
    'content-type',
    'server',
    'location',
    'x-amz-request-id',
    'x-amz-id-2',
    'x-amz-bucket-region',
    'x-amz-version-id',
    'x-minio-error-code',
    'x-minio-error-desc',
    'x-ms-request-id',
    'etag',
    'via',
    'www-authenticate',
    'connection',
  );
  const headers = fc.array(fc.tuple(name, value), { maxLength: 5 }).map((pairs) => Object.fromEntries(pairs));
  const status = fc.oneof(
    fc.constantFrom(200, 204, 301, 302, 307, 400, 401, 403, 404, 405, 409, 413, 429, 500, 501, 503, 504, 507),
    fc.integer({ min: 200, max: 599 }),
  );
  return fc.record({ status, headers, text });
}

export function behaviour(secrets: readonly string[]): fc.Arbitrary<Behaviour> {
  const response = generatedResponse(secrets);
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  return fc.oneof(
    { weight: 5, arbitrary: fc.constant({ kind: 'store' as const }) },
    { weight: 4, arbitrary: response.map((sent) => ({ kind: 'respond' as const, response: sent })) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('cut' as const), response, share, reset: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('hang' as const), response, share }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('garbage' as const),
        bytes: fc.uint8Array({ maxLength: 200 }),
      }),
    },
  );
}
