import type { Reason } from '../api/reasons.ts';
import type { Answerer, Response } from './answered-by.ts';
import type { OperationName } from './operations.ts';
import { reasonOfS3Code } from './s3-codes.ts';
import { errorElement } from './s3-document.ts';
import { header } from './transport.ts';

/** Source: Amazon S3 API Reference, "Error responses": `RequestTimeTooSkewed`. */
const MAX_SKEW_MS = 15 * 60 * 1_000;

/** A response that does not have the status of a success. */
export interface FailedResponse extends Response {
  readonly operation: OperationName;
  /** Error code from the store. */
  readonly code: string | undefined;
  /** Wall time of the signature, ms since the epoch. */
  readonly signedAtMs: number;
  /** Host to which the request was sent. */
  readonly host: string;
  readonly bucket: string;
}

/** Chooses the reason for a failed response that `by` sent. */
export function reasonFor(response: FailedResponse, by: Answerer): Reason {
  if (by === 'TLS peer') return 'ClientCertificateRequired';
  if (by === 'S3 store') return reasonOfStore(response);
  const { status = 0 } = response.exchange;
  if (status >= 300 && status < 400) return 'Redirected';
  return by === 'proxy' ? reasonOfProxy(status) : 'NotS3';
}

function reasonOfStore(response: FailedResponse): Reason {
  const { code, text, exchange } = response;
  const { status = 0 } = exchange;
  if (isObjectLocked(response)) return 'ObjectLocked';
  if (status >= 300 && status < 400) return redirectReason(response);
  // Alibaba OSS names the right endpoint in an AccessDenied error.
  if (code === 'AccessDenied' && errorElement(text, 'Endpoint') !== undefined) return 'Redirected';
  // If the clocks differ too much, MinIO responds to HEAD with neither a body nor an error code header.
  if (code === undefined && status === 403 && Math.abs(skewMs(response)) > MAX_SKEW_MS) return 'ClockSkew';
  if (code === undefined && status === 400 && header(exchange, 'x-amz-bucket-region') !== undefined) {
    return 'RegionMismatch';
  }
  const known = code === undefined ? undefined : reasonOfS3Code(code);
  return known ?? reasonOfStatus(response);
}

/** Stores have no specific error code for a locked object, so the message text decides. */
function isObjectLocked({ operation, code, text }: FailedResponse): boolean {
  if (operation !== 'DeleteObject' || (code !== 'AccessDenied' && code !== 'InvalidRequest')) return false;
  return /object lock|\bWORM\b|retention|legal hold/i.test(errorElement(text, 'Message') ?? '');
}

function redirectReason({ code, text, exchange, host, bucket }: FailedResponse): Reason {
  if (header(exchange, 'x-amz-bucket-region') !== undefined || errorElement(text, 'Region') !== undefined) {
    return 'RegionMismatch';
  }
  if (errorElement(text, 'Endpoint') === `${bucket}.${host}`) return 'AddressingStyle';
  const known = code === undefined ? undefined : reasonOfS3Code(code);
  return known ?? 'Redirected';
}

function reasonOfStatus({ operation, code, exchange }: FailedResponse): Reason {
  const { status = 0 } = exchange;
  const known = REASON_OF_STATUS.get(status);
  if (known !== undefined) return known;
  if (status === 404 && code === undefined)
    return operation === 'GetObject' ? 'ObjectMissing' : 'BucketMissing';
  if (status === 409 && code === undefined) return 'TransientConflict';
  return status >= 500 ? 'ServerError' : 'RequestRejected';
}

function reasonOfProxy(status: number): Reason {
  if (status < 300) return 'ProxyRefused';
  if (UNAVAILABLE_STATUSES.has(status)) return 'StoreUnavailable';
  const isRefusal = status === 401 || status === 403 || status === 405 || status === 501;
  if (isRefusal) return 'ProxyRefused';
  return REASON_OF_STATUS.get(status) ?? (status >= 500 ? 'ServerError' : 'ProxyRefused');
}

const REASON_OF_STATUS: ReadonlyMap<number, Reason> = new Map([
  [401, 'AccessDenied'],
  [403, 'AccessDenied'],
  [405, 'NotSupported'],
  [408, 'RequestTimeout'],
  [413, 'RequestTooLarge'],
  [429, 'SlowDown'],
  [501, 'NotSupported'],
  [507, 'StorageFull'],
]);

const UNAVAILABLE_STATUSES: ReadonlySet<number> = new Set([
  502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530,
]);

/** The store's clock minus the prober's. NaN if the response has no date. */
export function skewMs({ exchange, signedAtMs }: Pick<FailedResponse, 'exchange' | 'signedAtMs'>): number {
  return Date.parse(header(exchange, 'date') ?? '') - signedAtMs;
}
